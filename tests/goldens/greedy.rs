//! A trained model generates its published text.

use hayloft_checkpoint::Checkpoint;
use hayloft_model::{
    Decoder, GenerateSettings, LogitsProcessors, Portion, Positions, PromptRow, Sampling, Tokenizer, generate, no_grad,
};
use hayloft_runtime::Dtype;
use tch::{Device, Tensor};

use crate::support::fixture;

#[test]
fn greedy_decoding_of_stories260k_gives_its_published_text() {
    let folder = fixture("stories260K");
    let _guard = no_grad();
    let decoder = Decoder::load(&Checkpoint::open(&folder).unwrap(), Portion::Whole, Dtype::F32, Device::Cpu).unwrap();
    let tokenizer = Tokenizer::open(&folder).unwrap();

    let bos = tokenizer.bos().unwrap().id;
    let mut uncached = vec![bos];
    for _ in 0..200 {
        let ids: Vec<i64> = uncached.iter().map(|&id| i64::from(id)).collect();
        let positions = Positions::from_start(ids.len());
        let start = decoder.embed(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap();
        let end = decoder.advance(&start, decoder.spec().n_blocks, &positions).unwrap();
        let logits = decoder.logits(&end).unwrap();
        uncached.push(logits.select(1, -1).argmax(-1, false).int64_value(&[0]) as u32);
    }
    let settings = GenerateSettings {
        sampling: Sampling::Greedy,
        processors: LogitsProcessors::default(),
        max_new_tokens: 200,
        context_length: usize::MAX,
        stop_tokens: Vec::new(),
    };
    let prompt = PromptRow { row: 0, tokens: &[bos] };
    let cached = generate(&decoder, &[prompt], &settings, |_| {}).unwrap().remove(0).tokens;
    assert_eq!(cached, uncached[1..]);

    let expected = std::fs::read_to_string(folder.join("greedy-200-tokens.txt")).unwrap();
    let text = tokenizer.decode(&uncached).unwrap();
    assert_eq!(text.trim(), expected.trim());
}
