//! The tiny model with a cache of every kind of site, its SAEs, and the losses of the whole model with a change in place.

use std::fs;
use std::path::{Path, PathBuf};

use hayloft_checkpoint::Checkpoint;
use hayloft_evaluate::RunSettings;
use hayloft_model::{Decoder, Portion, Positions, Site, Stop};
use hayloft_results::SaeResult;
use hayloft_runtime::{Dtype, Progress};
use hayloft_sae::SaeFile;
use hayloft_store::Cache;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::small_model::SmallModel;
use crate::support::program::{program, succeed};

const CPU: Device = Device::Cpu;
pub const SITES: [&str; 6] = [
    "blocks.1.hook_resid_pre",
    "blocks.1.attn.hook_z",
    "blocks.1.hook_attn_out",
    "blocks.1.hook_resid_mid",
    "blocks.1.mlp.hook_in",
    "blocks.1.hook_mlp_out",
];

/// The tiny model, a cache of all kinds of sites, and SAEs for them.
pub struct Bench {
    pub small: SmallModel,
    pub cache: PathBuf,
    pub decoder: Decoder,
}

impl Bench {
    pub fn new() -> Self {
        let small = SmallModel::new();
        let cache = small.folder("cache");
        let pattern = "run --site blocks.{1}.hook_resid_pre --site blocks.1.attn.hook_z --site blocks.{1,2}.hook_attn_out \
                       --site blocks.*.hook_mlp_out --site blocks.1.mlp.hook_in --site blocks.1.ln2.hook_normalized \
                       --dtype f32 --shard-tokens 400 --row-group-rows 200 --logits loss";
        succeed(&mut program(
            "harvest",
            pattern,
            &[("--model", &small.model), ("--data", &small.data), ("--out", &cache)],
        ));
        let checkpoint = Checkpoint::open(&small.model).unwrap();
        let decoder = Decoder::load(&checkpoint, Portion::Whole, Dtype::F32, CPU).unwrap();
        Self { small, cache, decoder }
    }

    /// Saves an SAE of random weights for a site, or a transcoder if there is an output site.
    pub fn sae(&self, name: &str, site: &str, output: Option<&str>, metadata: &serde_json::Value) -> PathBuf {
        let width = |site: &str| site.parse::<Site>().unwrap().width(self.decoder.spec());
        let (d_in, d_out, latents) = (width(site), output.map_or(width(site), width), 80_i64);
        tch::manual_seed(name.bytes().map(i64::from).sum());
        let random = |shape: &[i64], scale: f64| Tensor::randn(shape, (Kind::Float, CPU)) * scale;
        let (inner, outer) = (d_in as i64, d_out as i64);
        let mut tensors = vec![
            ("W_enc", random(&[inner, latents], 0.3)),
            ("b_enc", random(&[latents], 0.1)),
            ("W_dec", random(&[latents, outer], 0.2)),
            ("b_dec", random(&[outer], 0.1)),
        ];
        let mut config = json!({
            "architecture": "standard", "d_in": d_in, "d_sae": latents, "dtype": "float32", "apply_b_dec_to_input": output.is_none(),
            "normalize_activations": "none", "reshape_activations": "none", "metadata": metadata,
        });
        config["metadata"]["sae_lens_version"] = json!("6.54.12");
        config["metadata"]["hook_name"] = json!(site);
        if let Some(output) = output {
            config["architecture"] = json!("skip_transcoder");
            config["d_out"] = json!(d_out);
            config["metadata"]["hook_name_out"] = json!(output);
            tensors.push(("W_skip", random(&[outer, inner], 0.3)));
        }
        self.save(name, &tensors, &config)
    }

    /// Saves an SAE that reproduces its input: one latent for each element, and one for its negative.
    pub fn identity(&self, name: &str, site: &str) -> PathBuf {
        let width = site.parse::<Site>().unwrap().width(self.decoder.spec()) as i64;
        let eye = Tensor::eye(width, (Kind::Float, CPU));
        let both = Tensor::cat(&[&eye, &-&eye], 1);
        let zeros = |size: i64| Tensor::zeros([size], (Kind::Float, CPU));
        let tensors = [
            ("W_enc", both.copy()),
            ("b_enc", zeros(2 * width)),
            ("W_dec", both.tr().contiguous()),
            ("b_dec", zeros(width)),
        ];
        let config = json!({
            "architecture": "standard", "d_in": width, "d_sae": 2 * width, "dtype": "float32",
            "apply_b_dec_to_input": false, "normalize_activations": "none", "reshape_activations": "none",
            "metadata": {"sae_lens_version": "6.54.12", "hook_name": site},
        });
        self.save(name, &tensors, &config)
    }

    fn save(&self, name: &str, tensors: &[(&str, Tensor)], config: &serde_json::Value) -> PathBuf {
        let folder = self.small.folder(name);
        fs::create_dir_all(&folder).unwrap();
        Tensor::write_safetensors(tensors, folder.join("sae_weights.safetensors")).unwrap();
        fs::write(folder.join("cfg.json"), config.to_string()).unwrap();
        folder
    }

    pub fn settings(&self, saes: &[&Path]) -> RunSettings {
        RunSettings::new(&self.small.model, &self.cache, saes.iter().map(|sae| sae.to_path_buf()).collect())
    }

    /// The sequences of the cache, in order.
    fn sequences(&self) -> Vec<Vec<i64>> {
        let cache = Cache::open(&self.cache).unwrap();
        let mut all = Vec::new();
        for place in 0..cache.shards() {
            let shard = cache.shard(place).unwrap();
            let tokens = shard.tokens().unwrap().token;
            for sequence in shard.sequences() {
                let own = &tokens[sequence.first_row as usize..][..sequence.length as usize];
                all.push(own.iter().map(|&token| i64::from(token)).collect());
            }
        }
        all
    }

    /// The mean loss of the whole model where `change` is done, in turn, to what is at these places: it is given the values at
    /// the input and at the target, `[pos, width]`, and says what the target becomes.
    pub fn loss(&self, places: &[(&str, &str)], change: impl FnMut(usize, &[i64], &Tensor, &Tensor) -> Tensor) -> f64 {
        let (mut total, mut count) = (0.0, 0);
        for (tokens, predicted) in self.sequences().iter().zip(self.predictions(places, change)) {
            let labels = Tensor::from_slice(&tokens[1..]).unsqueeze(-1);
            total -= predicted.gather(1, &labels, false).sum(Kind::Double).double_value(&[]);
            count += tokens.len() - 1;
        }
        total / f64::from(count as u32)
    }

    /// The log-probabilities `[pos - 1, vocab]` of each sequence's next tokens, float64, under the same changes.
    pub fn predictions(
        &self,
        places: &[(&str, &str)],
        mut change: impl FnMut(usize, &[i64], &Tensor, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let mut all = Vec::new();
        for tokens in self.sequences() {
            let positions = Positions::from_start(tokens.len());
            let start = self.decoder.embed(&Tensor::from_slice(&tokens).unsqueeze(0)).unwrap();
            let mut at: Option<Stop> = None;
            for (place, (input, target)) in places.iter().enumerate() {
                let reach = |at: Option<&Stop>, site: &str| {
                    let site: Site = site.parse().unwrap();
                    match at {
                        Some(at) => self.decoder.go_on(at, site, &positions).unwrap(),
                        None => self.decoder.reach(&start, site, &positions).unwrap(),
                    }
                };
                let given = reach(at.as_ref(), input);
                let stop = reach(Some(&given), target);
                let value = change(place, &tokens, &given.value.squeeze_dim(0), &stop.value.squeeze_dim(0));
                at = Some(Stop { value: value.unsqueeze(0), ..stop });
            }
            let stop = at.unwrap_or_else(|| {
                let first: Site = SITES[0].parse().unwrap();
                self.decoder.reach(&start, first, &positions).unwrap()
            });
            let end = self.decoder.spec().n_blocks;
            let left = self.decoder.leave(&stop, &positions).unwrap();
            let logits = self.decoder.logits(&self.decoder.advance(&left, end, &positions).unwrap()).unwrap();
            let of_next = logits.squeeze_dim(0).narrow(0, 0, tokens.len() as i64 - 1);
            all.push(of_next.to_kind(Kind::Double).log_softmax(-1, Kind::Double));
        }
        all
    }
}

pub fn run(settings: &RunSettings) -> Vec<SaeResult> {
    hayloft_evaluate::run(settings, Progress::Silent).unwrap().results
}

pub fn assert_near(got: Option<f64>, expected: f64, what: &str) {
    let got = got.unwrap();
    assert!((got - expected).abs() < 2e-5 * expected.abs().max(1.0), "{what}: {got}, expected {expected}");
}

pub fn reconstructed(sae: &Path) -> impl Fn(&Tensor) -> Tensor {
    let sae = SaeFile::open(sae).and_then(|file| file.load(CPU)).unwrap();
    move |x: &Tensor| sae.reconstruct(&x.contiguous()).unwrap().rows
}
