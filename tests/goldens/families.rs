//! The families of public SAEs, at every site, compared with transformers' forward hooks: the values, and the
//! predictions after a splice. `scripts/goldens/decoder_families.py` makes the checkpoints and goldens.

use std::path::{Path, PathBuf};

use hayloft_checkpoint::{Checkpoint, NormWeight};
use hayloft_model::{Decoder, Hook, Portion, Positions, Residual, Site, Stop, no_grad};
use hayloft_runtime::Dtype;
use tch::{Device, Kind, Tensor};

use crate::support::{Golden, fixture, max_difference};

const CPU: Device = Device::Cpu;

/// Largest difference of a float32 activation or logit from transformers.
const TOLERANCE_F32: f64 = 2e-4;

/// The block whose sites are recorded, the positions at which noise is added there, and how many of the last positions'
/// logits are recorded.
const BLOCK: usize = 1;
const SPLICED: std::ops::Range<i64> = 5..15;
const LAST: i64 = 6;

const HOOKS: [Hook; 8] = [
    Hook::ResidPre,
    Hook::Z,
    Hook::AttnOut,
    Hook::ResidMid,
    Hook::Ln2Normalized,
    Hook::MlpIn,
    Hook::MlpOut,
    Hook::ResidPost,
];

struct Family {
    name: String,
    checkpoint: Checkpoint,
    golden: Golden,
    tokens: Tensor,
    positions: Positions<'static>,
}

impl Family {
    fn open(folder: &Path) -> Self {
        let golden = Golden::open(&folder.join("golden.safetensors"));
        let tokens = golden.tensor("tokens");
        let positions = Positions::from_start(tokens.size()[1] as usize);
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self { name, checkpoint: Checkpoint::open(folder).unwrap(), golden, tokens, positions }
    }

    fn decoder(&self, portion: Portion, precision: Dtype) -> Decoder {
        Decoder::load(&self.checkpoint, portion, precision, CPU).unwrap()
    }

    /// The sites of a block that this family has.
    fn sites(&self, block: usize) -> impl Iterator<Item = Site> + '_ {
        let sites = HOOKS.into_iter().map(move |hook| Site::new(block, hook));
        sites.filter(|site| site.check(self.checkpoint.spec()).is_ok())
    }

    /// Logits at the last positions where noise is added at a site.
    fn spliced(&self, decoder: &Decoder, site: Site) -> Tensor {
        let Stop { value, beside, .. } =
            decoder.reach(&decoder.embed(&self.tokens).unwrap(), site, &self.positions).unwrap();
        let width = value.size()[2];
        let noise =
            self.golden.tensor("noise").narrow(2, 0, width).narrow(1, SPLICED.start, SPLICED.end - SPLICED.start);
        let changed = value.copy();
        let mut places = changed.narrow(1, SPLICED.start, SPLICED.end - SPLICED.start);
        let _ = places.f_add_(&noise.to_kind(value.kind())).unwrap();
        let left = decoder.leave(&Stop { site, value: changed, beside }, &self.positions).unwrap();
        self.last(&self.logits(decoder, &left))
    }

    fn logits(&self, decoder: &Decoder, from: &Residual) -> Tensor {
        let end = decoder.advance(from, decoder.spec().n_blocks, &self.positions).unwrap();
        decoder.logits(&end).unwrap()
    }

    fn last(&self, logits: &Tensor) -> Tensor {
        logits.narrow(1, self.positions.length() as i64 - LAST, LAST)
    }
}

fn families() -> Vec<Family> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(fixture("families")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 26, "the fixtures are incomplete: {folders:?}");
    folders.iter().map(|folder| Family::open(folder)).collect()
}

fn float32_families() -> impl Iterator<Item = Family> {
    families().into_iter().filter(|family| family.checkpoint.precision() == Dtype::F32)
}

#[test]
fn every_site_and_every_splice_agree_with_transformers_in_f32() {
    let _guard = no_grad();
    for family in float32_families() {
        let decoder = family.decoder(Portion::Whole, Dtype::F32);
        let start = decoder.embed(&family.tokens).unwrap();
        let (mut residuals, mut sites, mut spliced): (f64, f64, f64) = (0.0, 0.0, 0.0);
        for block in 0..=decoder.spec().n_blocks {
            let residual = decoder.advance(&start, block, &family.positions).unwrap();
            let difference = max_difference(&residual.stream, &family.golden.tensor(&format!("residual.{block}")));
            assert!(difference < TOLERANCE_F32, "{}: residual {block} differs by {difference}", family.name);
            residuals = residuals.max(difference);
        }
        let logits = max_difference(&family.logits(&decoder, &start), &family.golden.tensor("logits"));
        assert!(logits < TOLERANCE_F32, "{}: logits differ by {logits}", family.name);
        let mut count = 0;
        for site in family.sites(BLOCK) {
            let stop = decoder.reach(&start, site, &family.positions).unwrap();
            assert_eq!(stop.value.size()[2], site.width(decoder.spec()) as i64);
            let difference = max_difference(&stop.value, &family.golden.tensor(&format!("site.{}", site.hook())));
            assert!(difference < TOLERANCE_F32, "{}: {site} differs by {difference}", family.name);
            sites = sites.max(difference);
            let golden = family.golden.tensor(&format!("spliced.{}", site.hook()));
            let difference = max_difference(&family.spliced(&decoder, site), &golden);
            assert!(difference < TOLERANCE_F32, "{}: spliced at {site}, logits differ by {difference}", family.name);
            spliced = spliced.max(difference);
            let moved = max_difference(&golden, &family.last(&family.golden.tensor("logits")));
            assert!(moved > 1e-2, "{}: the noise at {site} moves the logits by {moved} only", family.name);
            count += 1;
        }
        assert!(count >= 7, "{}: {count} sites", family.name);
        println!(
            "{:20} {count} sites: residuals within {residuals:.1e}, sites {sites:.1e}, logits {logits:.1e}, spliced {spliced:.1e}",
            family.name
        );
    }
}

/// In bf16 two implementations diverge as soon as they round in another order. The test therefore requires that logits,
/// clean and spliced, are as near to a float32 run of the same weights as transformers' bf16 logits are: 1.5 times
/// their error at most.
#[test]
fn bf16_is_as_exact_as_transformers_bf16_at_every_site() {
    let _guard = no_grad();
    let apart = |left: &Tensor, right: &Tensor| {
        (left.to_kind(Kind::Double) - right.to_kind(Kind::Double)).square().mean(Kind::Double).sqrt().double_value(&[])
    };
    let mut seen = 0;
    for family in families().into_iter().filter(|family| family.checkpoint.precision() == Dtype::Bf16) {
        let [low, exact] = [Dtype::Bf16, Dtype::F32].map(|precision| family.decoder(Portion::Whole, precision));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for site in family.sites(BLOCK) {
            let expected = family.spliced(&exact, site);
            ours.push(apart(&family.spliced(&low, site), &expected));
            theirs.push(apart(&family.golden.tensor(&format!("spliced.{}", site.hook())), &expected));
        }
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        let (ours, theirs) = (mean(&ours), mean(&theirs));
        println!("{:20} bf16 error at the sites {ours:.4}, transformers' {theirs:.4}", family.name);
        assert!(ours < 1.5 * theirs, "{}: error {ours}, transformers' {theirs}", family.name);
        seen += 1;
    }
    assert!(seen >= 5, "expected checkpoints in bfloat16 among the fixtures");
}

/// Whether a halt at this site rounds a value that an undivided pass does not.
fn rounds(family: &Family, site: Site) -> bool {
    let norm = &family.checkpoint.spec().norm;
    let in_float32 = norm.weight != NormWeight::Plain && norm.kind == hayloft_checkpoint::NormKind::RootMeanSquare;
    site.hook() == Hook::Ln2Normalized && in_float32 && family.checkpoint.precision() != Dtype::F32
}

#[test]
fn halting_at_every_site_and_going_on_changes_no_bit() {
    let _guard = no_grad();
    for family in families() {
        let decoder = family.decoder(Portion::Whole, family.checkpoint.precision());
        let start = decoder.embed(&family.tokens).unwrap();
        let expected = family.logits(&decoder, &start);
        let mut at: Option<Stop> = None;
        for block in 0..decoder.spec().n_blocks {
            for site in family.sites(block) {
                let stop = decoder.reach(&start, site, &family.positions).unwrap();
                if !rounds(&family, site) {
                    let left = decoder.leave(&stop, &family.positions).unwrap();
                    assert!(family.logits(&decoder, &left).equal(&expected), "{}: halted at {site}", family.name);
                    let next = match &at {
                        Some(at) => decoder.go_on(at, site, &family.positions).unwrap(),
                        None => decoder.reach(&start, site, &family.positions).unwrap(),
                    };
                    assert!(next.value.equal(&stop.value), "{}: from site to site to {site}", family.name);
                    assert_eq!(next.beside.len(), site.beside(decoder.spec()).len());
                    at = Some(next);
                }
            }
        }
        let left = decoder.leave(&at.unwrap(), &family.positions).unwrap();
        assert!(family.logits(&decoder, &left).equal(&expected), "{}: through all sites", family.name);
    }
}

#[test]
fn tensors_beside_a_site_equal_those_of_other_sites() {
    let _guard = no_grad();
    for family in float32_families() {
        let spec = family.checkpoint.spec();
        let whole = family.decoder(Portion::Whole, Dtype::F32);
        let upper = family.decoder(Portion::From(BLOCK), Dtype::F32);
        let start = whole.embed(&family.tokens).unwrap();
        let expected = family.logits(&whole, &start);
        for site in family.sites(BLOCK) {
            let value = |site| whole.reach(&start, site, &family.positions).unwrap().value;
            // As from a cache: only the values of sites, and the upper half of the model.
            let stop = Stop { site, value: value(site), beside: site.beside(spec).into_iter().map(value).collect() };
            let left = upper.leave(&stop, &family.positions).unwrap();
            assert!(family.logits(&upper, &left).equal(&expected), "{}: {site}", family.name);
        }
    }
}

#[test]
fn growing_a_sequence_token_by_token_gives_the_logits_of_the_whole() {
    let _guard = no_grad();
    for family in float32_families() {
        let decoder = family.decoder(Portion::Whole, Dtype::F32);
        let length = family.positions.length() as i64;
        let expected = family.logits(&decoder, &decoder.embed(&family.tokens).unwrap());
        let mut cache = decoder.cache(2, length as usize).unwrap();
        let begun = 7;
        let mut logits = decoder.extend(&mut cache, &family.tokens.narrow(1, 0, begun), &[7, 7]).unwrap();
        for place in begun..length {
            let difference = max_difference(&logits, &expected.select(1, place - 1));
            assert!(difference < 1e-4, "{}: token {place}: {difference}", family.name);
            logits = decoder.extend(&mut cache, &family.tokens.narrow(1, place, 1), &[1, 1]).unwrap();
        }
        assert!(max_difference(&logits, &expected.select(1, length - 1)) < 1e-4, "{}", family.name);
    }
}

#[test]
fn losses_and_top_logits_have_the_cap_and_the_bias_of_the_whole_logits() {
    let _guard = no_grad();
    for family in float32_families() {
        let decoder = family.decoder(Portion::Whole, Dtype::F32);
        let end = decoder.advance(&decoder.embed(&family.tokens).unwrap(), decoder.spec().n_blocks, &family.positions);
        let rows = end.unwrap().stream.flatten(0, 1);
        let labels: Vec<i64> = Vec::try_from(family.tokens.flatten(0, 1)).unwrap();
        let got = decoder.predictions(&rows, &labels, 3).unwrap();
        let logits = family.golden.tensor("logits").flatten(0, 1).to_kind(Kind::Double);
        let expected =
            -logits.log_softmax(-1, Kind::Double).gather(1, &Tensor::from_slice(&labels).unsqueeze(-1), false);
        assert!(max_difference(&Tensor::from_slice(&got.loss), &expected.squeeze_dim(-1)) < 2e-4, "{}", family.name);
        let (top, _) = logits.topk(3, -1, true, true);
        assert!(max_difference(&Tensor::from_slice(&got.top_logits), &top.flatten(0, 1)) < 2e-4, "{}", family.name);
    }
}

/// `TransformerLens`'s `center_writing_weights`: each write to the stream is the model's less its mean, and a
/// replacement changes the predictions as it does in the original model.
#[test]
fn centred_writing_weights_are_the_models_own_less_their_mean() {
    let _guard = no_grad();
    let family = Family::open(&fixture("families/gpt2"));
    let centred = Golden::open(&fixture("families/gpt2/centred.safetensors"));
    let decoder = family.decoder(Portion::Whole, Dtype::F32);
    let start = decoder.embed(&family.tokens).unwrap();
    for hook in [Hook::ResidPre, Hook::AttnOut, Hook::ResidMid, Hook::MlpOut, Hook::ResidPost] {
        let site = Site::new(BLOCK, hook);
        let Stop { value, beside, .. } = decoder.reach(&start, site, &family.positions).unwrap();
        let given = &value - value.mean_dim([-1i64].as_slice(), true, Kind::Float);
        let difference = max_difference(&given, &centred.tensor(&format!("site.{hook}")));
        assert!(difference < TOLERANCE_F32, "{site} differs by {difference}");
        // In the space of the centred model; the model itself continues from it.
        let changed = value.copy();
        let places = |tensor: &Tensor| tensor.narrow(1, SPLICED.start, SPLICED.end - SPLICED.start);
        let noise = family.golden.tensor("noise").narrow(2, 0, value.size()[2]);
        places(&changed).copy_(&(places(&given) + places(&noise)));
        let left = decoder.leave(&Stop { site, value: changed, beside }, &family.positions).unwrap();
        let got = family.last(&family.logits(&decoder, &left)).log_softmax(-1, Kind::Float);
        let difference = max_difference(&got, &centred.tensor(&format!("spliced.{hook}")));
        assert!(difference < TOLERANCE_F32, "spliced at {site}: {difference}");
    }
}

#[test]
fn a_site_that_the_family_does_not_have_is_refused_by_name() {
    for (folder, site, words) in [
        ("gpt-neox", "blocks.1.hook_resid_mid", "gpt_neox"),
        ("phi", "blocks.1.hook_resid_mid", "phi"),
        ("olmo2", "blocks.1.ln2.hook_normalized", "olmo2"),
        ("gpt2", "blocks.3.hook_resid_pre", "0 to 2"),
    ] {
        let family = Family::open(&fixture("families").join(folder));
        let decoder = family.decoder(Portion::Whole, Dtype::F32);
        let site: Site = site.parse().unwrap();
        let start = decoder.embed(&family.tokens).unwrap();
        let message = decoder.reach(&start, site, &family.positions).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains(&site.to_string()), "{message}");
    }
    let family = Family::open(&fixture("families").join("gpt2"));
    let decoder = family.decoder(Portion::Whole, Dtype::F32);
    let start = decoder.embed(&family.tokens).unwrap();
    let stop = decoder.reach(&start, "blocks.1.hook_mlp_out".parse().unwrap(), &family.positions).unwrap();
    let back = decoder.go_on(&stop, "blocks.0.hook_resid_pre".parse().unwrap(), &family.positions);
    assert!(back.unwrap_err().to_string().contains("does not come after"));
    let alone = Stop { beside: Vec::new(), ..stop };
    assert!(decoder.leave(&alone, &family.positions).unwrap_err().to_string().contains("expected 1 tensors, got 0"));
}
