//! The facts of a configuration that bear on the computation, as text.

use std::collections::BTreeMap;

use hayloft_runtime::Dtype;

use crate::spec::{
    Activation, AttentionBias, AttentionSpec, BlockSpec, DecoderSpec, MlpBias, MlpGate, MlpSpec, NormKind,
    NormPlacement, NormSpec, NormWeight, PositionSpec, QueryKeyNorm, Residuals, RopePairs, RopeScaling, RopeSpec,
};

/// The facts by name. `dtype` is what the model runs in unless another type is asked for.
///
/// The head is left out, because the list of tensors says whether there is one; so are the names of family and layout, which
/// the names of the tensors imply, and the longest sequence, which changes no figure of a shorter one.
pub(crate) fn facts(spec: &DecoderSpec, dtype: Dtype) -> BTreeMap<String, String> {
    let DecoderSpec {
        model_type: _,
        vocab_size,
        d_model,
        n_blocks,
        context_length: _,
        embedding_scale,
        block: BlockSpec { norms, residuals },
        attention,
        windows,
        positions,
        mlp: MlpSpec { d_mlp, activation, gate, bias: mlp_bias },
        norm,
        head: _,
        head_bias,
        logit_soft_cap,
        layout: _,
    } = spec;
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, value: String| facts.insert(name.to_owned(), value);
    add("dtype", dtype.to_string());
    add("vocab_size", vocab_size.to_string());
    add("hidden_size", d_model.to_string());
    add("num_hidden_layers", n_blocks.to_string());
    add("intermediate_size", d_mlp.to_string());
    add("embedding_scale", number_or_none(*embedding_scale));
    add("final_logit_softcapping", number_or_none(*logit_soft_cap));
    add("lm_head_bias", head_bias.to_string());
    add("norm_placement", norm_placement(*norms).to_owned());
    add("residuals", residuals_in_words(*residuals).to_owned());
    add(
        "sliding_window",
        of_blocks(windows.iter().map(|window| window.map_or(NONE.to_owned(), |size| size.to_string()))),
    );
    add("hidden_act", activation_in_words(*activation).to_owned());
    add("mlp", if *gate == MlpGate::Gated { "gated" } else { "plain" }.to_owned());
    add("mlp_bias", if *mlp_bias == MlpBias::All { "all" } else { NONE }.to_owned());
    add_attention(&mut add, attention);
    add_norm(&mut add, norm);
    add_positions(&mut add, spec, positions);
    facts
}

const NONE: &str = "none";

fn add_attention(add: &mut impl FnMut(&str, String) -> Option<String>, attention: &AttentionSpec) {
    let AttentionSpec { n_heads, n_kv_heads, head_dim, scale, bias, query_key_norm, soft_cap } = attention;
    let bias = match bias {
        AttentionBias::None => NONE,
        AttentionBias::Inputs => "inputs",
        AttentionBias::Output => "output",
        AttentionBias::All => "all",
    };
    let query_key_norm = match query_key_norm {
        QueryKeyNorm::None => NONE,
        QueryKeyNorm::EachHead => "each_head",
        QueryKeyNorm::AllHeads => "all_heads",
    };
    add("num_attention_heads", n_heads.to_string());
    add("num_key_value_heads", n_kv_heads.to_string());
    add("head_dim", head_dim.to_string());
    add("attention_scale", number(*scale));
    add("attention_bias", bias.to_owned());
    add("query_key_norm", query_key_norm.to_owned());
    add("attn_logit_softcapping", number_or_none(*soft_cap));
}

fn add_norm(add: &mut impl FnMut(&str, String) -> Option<String>, norm: &NormSpec) {
    let NormSpec { kind, epsilon, weight } = norm;
    let (kind, key) = match kind {
        NormKind::RootMeanSquare => ("rms", "rms_norm_eps"),
        NormKind::Layer => ("layer", "layer_norm_epsilon"),
    };
    let weight = match weight {
        NormWeight::Plain => "plain",
        NormWeight::Wide => "wide",
        NormWeight::OnePlus => "one_plus",
    };
    add("norm", kind.to_owned());
    add(key, number(*epsilon));
    add("norm_weight", weight.to_owned());
}

fn add_positions(add: &mut impl FnMut(&str, String) -> Option<String>, spec: &DecoderSpec, positions: &PositionSpec) {
    if let PositionSpec::Learned { offset } = positions {
        add("positions", "learned".to_owned());
        add("position_offset", offset.to_string());
        return;
    }
    add("positions", "rotary".to_owned());
    let of_ropes = |fact: fn(&RopeSpec) -> String| {
        of_blocks((0..spec.n_blocks).map(|block| spec.rope(block).map_or(NONE.to_owned(), |(_, rope)| fact(rope))))
    };
    add("rope_theta", of_ropes(|rope| number(rope.theta)));
    add("rope_dimensions", of_ropes(|rope| rope.dimensions.to_string()));
    add("rope_pairs", of_ropes(|rope| if rope.pairs == RopePairs::Halves { "halves" } else { "adjacent" }.to_owned()));
    add("rope_scaling", of_ropes(|rope| scaling_in_words(&rope.scaling)));
}

/// Values of every block, separated by a comma and a space; one value if all blocks have the same.
fn of_blocks(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    match values.first() {
        Some(first) if values.iter().all(|value| value == first) => first.clone(),
        _ => values.join(", "),
    }
}

/// A number with at most twelve significant digits, and without an exponent: the last bits of derived numbers depend on the
/// system's mathematical library.
fn number(value: f64) -> String {
    format!("{value:.11e}").parse().unwrap_or(value).to_string()
}

fn number_or_none(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), number)
}

fn norm_placement(norms: NormPlacement) -> &'static str {
    match norms {
        NormPlacement::Before => "before",
        NormPlacement::Around => "around",
        NormPlacement::Behind => "behind",
    }
}

fn residuals_in_words(residuals: Residuals) -> &'static str {
    match residuals {
        Residuals::Sequential => "sequential",
        Residuals::Parallel => "parallel",
    }
}

fn activation_in_words(activation: Activation) -> &'static str {
    match activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Relu => "relu",
    }
}

/// The rule and its numbers. The longest sequence of `LongRoPE` is no number of the rule.
fn scaling_in_words(scaling: &RopeScaling) -> String {
    match scaling {
        RopeScaling::None => NONE.to_owned(),
        RopeScaling::Linear { factor } => format!("linear factor={}", number(*factor)),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let [factor, low, high, original] =
                [factor, low_frequency_factor, high_frequency_factor, original_context].map(|value| number(*value));
            format!("llama3 factor={factor} low={low} high={high} original={original}")
        }
        RopeScaling::Yarn { factor, fast, slow, original_context, truncate, attention_factor } => {
            let [factor, fast, slow, original, attention] =
                [factor, fast, slow, original_context, attention_factor].map(|value| number(*value));
            format!(
                "yarn factor={factor} fast={fast} slow={slow} original={original} truncate={truncate} attention={attention}"
            )
        }
        RopeScaling::LongRope { factors, attention_factor, longest: _ } => {
            let factors: Vec<String> = factors.iter().map(|factor| number(*factor)).collect();
            format!("longrope factors={} attention={}", factors.join("/"), number(*attention_factor))
        }
    }
}
