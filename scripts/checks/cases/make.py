#!/usr/bin/env python3
"""Writes small inputs that stand for real situations: make.py OUT [FILES]

One folder a case, with case.json: `kind`; `runs`, ways to run it, one of which must do ({case} is the folder, {out} an empty one);
`reference`, a run that it is held against; and `expect`:
  same              status 0, and the figures or tokens of the reference
  same or refused   that, or status 1 and `says` in the error
  told              `says` in what is printed, whether it ends with 0 or 1
  refused           status 1 and `says` in the error
`shows` must be in what is printed when the status is 0; `never` must not be in an error. Both and `says` are regular expressions.
Needs numpy and safetensors, and ../data beside FILES (by default ../shared/released beside the project), with stories260K.
"""
import gzip, json, os, re, shutil, sys
import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DATA = os.path.join(sys.argv[2] if len(sys.argv) > 2 else f"{ROOT}/../shared/released", "..", "data")
STORIES, SAE = f"{DATA}/stories260K", f"{DATA}/saes/standard"
WEIGHTS = load_file(f"{STORIES}/model.safetensors")
TOKENIZER = json.load(open(f"{STORIES}/tokenizer.json"))
TEXTS = [json.loads(line)["text"] for line in open(f"{STORIES}/stories-eval.jsonl")][:6]
SITE = "blocks.3.hook_resid_pre"
random = np.random.default_rng(0)


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value, indent=1)).encode())


def load(path): return json.load(open(path))


def model(folder, config={}, tokenizer_config={}, tensors=None, without=(), **files):
    """stories260K with these changes; files go by name, with _ for the dot: added_tokens_json={...}."""
    os.makedirs(folder)
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        if name not in without: shutil.copy(f"{STORIES}/{name}", folder)
    for name, change in (("config.json", config), ("tokenizer_config.json", tokenizer_config)):
        if change: write(f"{folder}/{name}", {**load(f"{STORIES}/{name}"), **change})
    if tensors is not None: save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
    for name, value in files.items(): write(f"{folder}/{name.replace('_json', '.json')}", value)


def normal(*shape): return random.normal(0, 0.2, shape).astype(np.float32)


def other_model(folder, config, tensors, **files):
    """A model of another family, with the tokenizer of stories260K."""
    model(folder, without=("config.json", "generation_config.json"), tensors=tensors, **files)
    write(f"{folder}/config.json", config)


def gpt_neox():
    w = {"gpt_neox.embed_in.weight": normal(512, 32), "embed_out.weight": normal(512, 32), "gpt_neox.final_layer_norm.weight": 1 + normal(32), "gpt_neox.final_layer_norm.bias": normal(32)}
    for i in range(2):
        p = f"gpt_neox.layers.{i}."
        for name, shape in {"attention.query_key_value": (96, 32), "attention.dense": (32, 32), "mlp.dense_h_to_4h": (128, 32), "mlp.dense_4h_to_h": (32, 128)}.items():
            w |= {f"{p}{name}.weight": normal(*shape), f"{p}{name}.bias": normal(shape[0])}
        for name in ("input_layernorm", "post_attention_layernorm"): w |= {f"{p}{name}.weight": 1 + normal(32), f"{p}{name}.bias": normal(32)}
    return {"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "gelu", "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 128, "layer_norm_eps": 1e-05,
            "max_position_embeddings": 64, "model_type": "gpt_neox", "num_attention_heads": 4, "num_hidden_layers": 2, "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False,
            "torch_dtype": "float16", "transformers_version": "4.24.0", "use_cache": True, "use_parallel_residual": True, "vocab_size": 512}, w


def gpt2():
    w = {"wte.weight": normal(512, 32), "wpe.weight": normal(64, 32), "ln_f.weight": 1 + normal(32), "ln_f.bias": normal(32)}
    for i in range(2):
        for name, shape in {"attn.c_attn": (32, 96), "attn.c_proj": (32, 32), "mlp.c_fc": (32, 128), "mlp.c_proj": (128, 32)}.items():
            w |= {f"h.{i}.{name}.weight": normal(*shape), f"h.{i}.{name}.bias": normal(shape[1])}
        for name in ("ln_1", "ln_2"): w |= {f"h.{i}.{name}.weight": 1 + normal(32), f"h.{i}.{name}.bias": normal(32)}
    return {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "bos_token_id": 1, "eos_token_id": 2, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 64, "n_embd": 32,
            "n_head": 4, "n_layer": 2, "n_positions": 64, "vocab_size": 512}, w


def gemma(kind):
    """Gemma 2 or the text model of Gemma 3."""
    w = {"model.embed_tokens.weight": normal(512, 32), "model.norm.weight": normal(32)}
    for i in range(2):
        p = f"model.layers.{i}."
        for name, shape in {"self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32), "self_attn.o_proj": (32, 32), "mlp.gate_proj": (64, 32), "mlp.up_proj": (64, 32), "mlp.down_proj": (32, 64)}.items():
            w[f"{p}{name}.weight"] = normal(*shape)
        for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"): w[f"{p}{name}.weight"] = normal(32)
        if kind == "gemma3_text": w |= {p + "self_attn.q_norm.weight": normal(8), p + "self_attn.k_norm.weight": normal(8)}
    c = {"model_type": kind, "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 8, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 512,
         "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "query_pre_attn_scalar": 8, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 32, "vocab_size": 512}
    return c | ({"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0} if kind == "gemma2" else {"rope_local_base_freq": 10000.0, "sliding_window_pattern": 6}), w


def sae(folder, config={}, weights={}, without=(), metadata={}):
    """The standard SAE of shared/data with these changes."""
    c = load(f"{SAE}/cfg.json") | config
    c["metadata"] = c["metadata"] | metadata
    write(f"{folder}/cfg.json", {key: value for key, value in c.items() if key not in without})
    save_file(load_file(f"{SAE}/sae_weights.safetensors") | weights, f"{folder}/sae_weights.safetensors")


def flat(extra={}):
    """cfg.json as SAELens 2 to 5 wrote it: everything on one level."""
    return {"architecture": "standard", "d_in": 64, "d_sae": 512, "activation_fn_str": "relu", "apply_b_dec_to_input": True, "context_size": 256, "model_name": "stories260K", "hook_name": SITE, "hook_layer": 3,
            "hook_head_index": None, "prepend_bos": True, "dataset_path": "stories", "normalize_activations": "none", "dtype": "float32", "device": "cuda", "finetuning_scaling_factor": False,
            "sae_lens_training_version": "5.4.0"} | extra


def sparsify(folder, config):
    base = {"d_in": 64, "expansion_factor": 8, "num_latents": 512, "k": 8, "normalize_decoder": True, "signed": False}
    w = load_file(f"{SAE}/sae_weights.safetensors")
    w = {"encoder.weight": np.ascontiguousarray(w["W_enc"].T), "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    write(f"{folder}/cfg.json", base | config)
    save_file(w | ({"W_skip": np.eye(64, dtype=np.float32)} if config.get("skip_connection") else {}), f"{folder}/sae.safetensors")


def manifest(path, rows, context=256, chat=False, **keys):
    line = lambda key, value: f"{key} = {json.dumps(value)}\n"
    fields = "".join(line(key, value) for key, value in keys.items())
    write(path, line("name", "t") + line("packing", "per-document") + line("context_length", context) + ("[chat]\n" if chat else "") + fields + "[[files]]\n" + line("path", rows))


def jsonl(path, rows): write(path, "".join(json.dumps(row) + "\n" for row in rows))


def documents(folder, texts=TEXTS):
    jsonl(f"{folder}/d.jsonl", [{"text": text} for text in texts])
    manifest(f"{folder}/d.toml", "d.jsonl")


def plan(m="m", data="d"): return [["harvest", "plan", "--model", f"{{case}}/{m}", "--data", f"{{case}}/{data}.toml", "--out", "{out}/p", "--show", "9"]]
def harvest(m="m", data="d", site=SITE): return [["harvest", "run", "--model", f"{{case}}/{m}", "--data", f"{{case}}/{data}.toml", "--out", "{out}/c", "--site", site, "--dtype", "f32"]]
def evaluate(s="s", m="m", harvested="m"): return harvest(harvested) + [["evaluate", "run", "--model", f"{{case}}/{m}", "--cache", "{out}/c", "--sae", f"{{case}}/{s}"]]
def inspect(s="s"): return [["evaluate", "inspect", f"{{case}}/{s}"]]
def rollouts(m="m", data="d"): return [["harvest", "rollouts", "--model", f"{{case}}/{m}", "--data", f"{{case}}/{data}.toml", "--out", "{out}/r.parquet", "--max-new-tokens", "24"]]


CASES = []
def case(name, expect, *runs, reference=None, **checks):
    """Notes what a case is to do; its folder is there already."""
    kind, _, variant = name.partition("/")
    CASES.append(name)
    write(f"{OUT}/{kind}-{variant}/case.json", {"kind": kind, "name": name, "expect": expect, "runs": runs, "reference": reference, **checks})


def folder(name):
    path = f"{OUT}/{name.replace('/', '-')}"
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


# ---- Parquet by hand: one column, one page

def varint(n):
    out = b""
    while n > 127: out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def thrift(*fields):
    """A struct in Thrift's compact protocol: (id, type, value) with types i (integer), b (bytes), s (struct), l (list of (type, values))."""
    def value(kind, v):
        if kind == "i": return varint(v << 1)
        if kind == "b": return varint(len(v)) + v
        if kind == "l": return bytes([len(v[1]) << 4 | {"i": 5, "b": 8, "s": 12}[v[0]]]) + b"".join(value(v[0], x) for x in v[1])
        return v
    out, last = b"", 0
    for number, kind, v in fields:
        out += bytes([(number - last) << 4 | {"i": 5, "I": 6, "b": 8, "l": 9, "s": 12}[kind]]) + value(kind.lower(), v)
        last = number
    return out + b"\0"


def parquet(path, column, rows, codec=0):
    """rows are texts, or lists of integers. codec: 0 none, 2 gzip, 4 Brotli (not even compressed), 7 LZ4 (literals alone)."""
    lists = isinstance(rows[0], list)
    if lists:
        run = lambda count, level: varint(count << 1) + bytes([level])
        levels = [b"".join(run(1, 0) + run(len(row) - 1, 1) for row in rows), run(sum(map(len, rows)), 2)]
        page = b"".join(len(x).to_bytes(4, "little") + x for x in levels) + np.array([x for row in rows for x in row], "<i8").tobytes()
        schema = [thrift((4, "b", b"schema"), (5, "i", 1)), thrift((3, "i", 1), (4, "b", column.encode()), (5, "i", 1), (6, "i", 3)), thrift((3, "i", 2), (4, "b", b"list"), (5, "i", 1)), thrift((1, "i", 2), (3, "i", 0), (4, "b", b"element"))]
        names, kind, count = [column.encode(), b"list", b"element"], 2, sum(map(len, rows))
    else:
        page = b"".join(len(x.encode()).to_bytes(4, "little") + x.encode() for x in rows)
        schema = [thrift((4, "b", b"schema"), (5, "i", 1)), thrift((1, "i", 6), (3, "i", 0), (4, "b", column.encode()), (6, "i", 0))]
        names, kind, count = [column.encode()], 6, len(rows)
    literals = lambda x: b"\xf0" + b"\xff" * ((len(x) - 15) // 255) + bytes([(len(x) - 15) % 255]) + x
    body = {2: gzip.compress, 7: literals}.get(codec, bytes)(page)
    header = thrift((1, "i", 0), (2, "i", len(page)), (3, "i", len(body)), (5, "s", thrift((1, "i", count), (2, "i", 0), (3, "i", 3), (4, "i", 3))))
    chunk = thrift((1, "i", kind), (2, "l", ("i", [0, 3])), (3, "l", ("b", names)), (4, "i", codec), (5, "I", count), (6, "I", len(header) + len(page)), (7, "I", len(header) + len(body)), (9, "I", 4))
    group = thrift((1, "l", ("s", [thrift((2, "I", 4), (3, "s", chunk))])), (2, "I", len(header) + len(page)), (3, "I", len(rows)))
    foot = thrift((1, "i", 1), (2, "l", ("s", schema)), (3, "I", len(rows)), (4, "l", ("s", [group])))
    write(path, b"PAR1" + header + body + foot + len(foot).to_bytes(4, "little") + b"PAR1")


# ---- what the kinds share, so that a variant is a line

AT_DEFAULTS = {"add_cross_attention": False, "bad_words_ids": None, "begin_suppress_tokens": None, "cross_attention_hidden_size": None, "decoder_start_token_id": None, "diversity_penalty": 0.0, "do_sample": False,
               "early_stopping": False, "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty": None, "finetuning_task": None, "forced_bos_token_id": None, "forced_eos_token_id": None,
               "is_decoder": False, "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1, "output_scores": False,
               "prefix": None, "pruned_heads": {}, "remove_invalid_values": False, "repetition_penalty": 1.0, "return_dict_in_generate": False, "sep_token_id": None, "suppress_tokens": None,
               "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False, "tie_encoder_decoder": False, "tokenizer_class": None, "top_k": 50, "top_p": 1.0, "torchscript": False,
               "typical_p": 1.0, "use_bfloat16": False}
CLT_DEFAULTS = {"activation": "topk", "tp_output": True, "n_targets": 0, "n_sources": 0, "normalize_io": False, "divide_cross_layer": False, "train_post_encoder": True, "post_encoder_scale": False,
                "per_source_tied": False, "secondary_target_tied": False, "coalesce_topk": "none", "topk_coalesced": False, "use_fp8": False, "dtype": "none"}
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
# The keys of a data manifest for these fields.
MESSAGES, TOKENS = ({"messages_field": "F"},), ({"tokens_field": "F"},)


def masks(name, config, tensors, buffers):
    at = folder(name)
    other_model(f"{at}/m", config, tensors | buffers); other_model(f"{at}/r", config, tensors)
    documents(at, ["Once upon a time there was a cat."]); manifest(f"{at}/d.toml", "d.jsonl", 32)
    case(name, "same", harvest(site="blocks.1.hook_resid_post"), reference=harvest("r", site="blocks.1.hook_resid_post"))


def keys(name, extra, refused=None):
    at = folder(name); model(f"{at}/m", extra); model(f"{at}/r"); documents(at)
    if refused: case(name, "refused", harvest(), says=refused)
    else: case(name, "same", harvest(), reference=harvest("r"))


def sae_keys(name, config, metadata={}, refused=None):
    """config: all of cfg.json if it has a hook_name or hook_point, else what is added to it."""
    at = folder(name); model(f"{at}/m"); documents(at, TEXTS[:2])
    whole = "hook_layer" in config or "hook_point" in config
    sae(f"{at}/s", {} if whole else config, metadata=metadata); sae(f"{at}/r")
    if whole: write(f"{at}/s/cfg.json", config)
    case(name, "refused", inspect(), says=refused) if refused else case(name, "same", evaluate(), reference=evaluate("r"))


def sparsify_keys(name, config, shows=None, refused=None):
    at = folder(name); sparsify(f"{at}/layers.2.mlp", config)
    case(name, "refused" if refused else "same", inspect("layers.2.mlp"), says=refused, shows=shows)


def tokens(name, m, text, shows=None, reference=None, says=None):
    """m, and the model that it is held against, are arguments of model()."""
    at = folder(name); documents(at, [text]); model(f"{at}/m", **m)
    if reference: model(f"{at}/r", **reference)
    case(name, "same or refused", plan(), reference=plan("r") if reference else None, shows=shows, says=says)


def grown(*texts, listed=True):
    """Arguments of model() for a vocabulary with these tokens added, in tokenizer.json or not."""
    e = WEIGHTS["model.embed_tokens.weight"]
    t = json.loads(json.dumps(TOKENIZER))
    if listed: t["added_tokens"] += [{"id": 512 + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, text in enumerate(texts)]
    return {"config": {"vocab_size": 512 + len(texts)}, "tensors": WEIGHTS | {"model.embed_tokens.weight": np.concatenate([e, e[3:3 + len(texts)]])}, "tokenizer_json": t}


def head(name, tensor, value, base=None):
    at = folder(name); documents(at)
    if base: other_model(f"{at}/m", base[0], base[1] | {tensor: value}); documents(at, ["Once upon a time there was a cat."]); manifest(f"{at}/d.toml", "d.jsonl", 32)
    else: model(f"{at}/m", tensors=WEIGHTS | {tensor: value})
    case(name, "told", harvest(site="blocks.1.hook_resid_post"), says=r"lm_head|tied?\b|tie_word")


def chat(name, rows, text, field, ending="jsonl"):
    """rows must become the tokens of text."""
    at = folder(name)
    model(f"{at}/m", tokenizer_config={"chat_template": TEMPLATE}); jsonl(f"{at}/r.jsonl", [{"text": text}]); manifest(f"{at}/r.toml", "r.jsonl")
    write(f"{at}/d.{ending}", rows) if ending == "json" else jsonl(f"{at}/d.{ending}", rows)
    for i, names in enumerate(MESSAGES): manifest(f"{at}/d{i}.toml", f"d.{ending}", chat=True, **{key: field for key in names})
    case(name, "same", *(plan(data=f"d{i}") for i in range(len(MESSAGES))), reference=plan(data="r"), start=True)


def ids(name, put, field):
    at = folder(name); model(f"{at}/m")
    pieces = {i: piece for piece, i in TOKENIZER["model"]["vocab"].items()}
    row = [1, *random.integers(300, 500, 20).tolist()]
    ending = put(at, row)
    for i, names in enumerate(TOKENS): manifest(f"{at}/d{i}.toml", f"d.{ending}", **{key: field for key in names})
    case(name, "same", *(plan(data=f"d{i}") for i in range(len(TOKENS))), shows=re.escape("·".join(pieces[i] for i in row[1:])))


def bytes_as(name, file, data, reference=None, **checks):
    """A file of these bytes, held against the same documents as plain JSONL or text."""
    at = folder(name); model(f"{at}/m"); write(f"{at}/{file}", data); manifest(f"{at}/d.toml", file)
    write(f"{at}/{reference or 'r.jsonl'}", BODY if not reference else TEXTS[0]); manifest(f"{at}/r.toml", reference or "r.jsonl")
    case(name, "same or refused" if checks else "same", plan(), reference=plan(data="r"), **checks)
BODY = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:3])


def quirk(name, field):
    """A line with a field, unrelated to the text, that Python's json writes and reads."""
    bytes_as(name, "d.jsonl", "".join('{"text": %s, %s}\n' % (json.dumps(text), field) for text in TEXTS[:3]))


def same_weights(name, change, refused=None):
    at = folder(name); model(f"{at}/r"); change(f"{at}/m"); documents(at); sae(f"{at}/s")
    case(name, "refused" if refused else "same", evaluate(m="m", harvested="r"), reference=evaluate(m="r", harvested="r"), says=refused)


def shards(at, count):
    names = sorted(WEIGHTS); model(at, without=("model.safetensors",)); placed = {}
    for i in range(count):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"; part = {name: WEIGHTS[name] for name in names[i::count]}
        save_file(part, f"{at}/{file}", metadata={"format": "pt"}); placed |= dict.fromkeys(part, file)
    write(f"{at}/model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": placed})


def generation(name, key, value):
    at = folder(name); model(f"{at}/m", tokenizer_config={"chat_template": TEMPLATE}, generation_config_json={"bos_token_id": 1, "eos_token_id": 2, key: value})
    jsonl(f"{at}/d.jsonl", [{"instruction": "Once upon a time", "rollout": ""}]); manifest(f"{at}/d.toml", "d.jsonl", chat=True)
    case(name, "told", rollouts(), says=key)


def trained(name, says, **metadata):
    at = folder(name); model(f"{at}/m"); documents(at); sae(f"{at}/s", metadata=metadata)
    case(name, "told", evaluate(), says=says)


def multimodal(name, rename):
    at = folder(name); config, w = gemma("gemma3_text")
    other_model(f"{at}/r", config, w)
    vision = {"vision_tower.vision_model.post_layernorm.weight": normal(16), "multi_modal_projector.mm_soft_emb_norm.weight": normal(16)}
    other_model(f"{at}/m", {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "boi_token_index": 3, "eoi_token_index": 4, "image_token_index": 5, "mm_tokens_per_image": 256, "initializer_range": 0.02,
                            "text_config": config, "vision_config": {"hidden_size": 16, "model_type": "siglip_vision_model"}}, rename(w, vision))
    documents(at); case(name, "same", harvest(site="blocks.1.hook_resid_post"), reference=harvest("r", site="blocks.1.hook_resid_post"))


def template(name, test):
    at = folder(name); jsonl(f"{at}/d.jsonl", [{"instruction": "Who are you?", "rollout": "A cat."}]); manifest(f"{at}/d.toml", "d.jsonl", chat=True)
    model(f"{at}/m", tokenizer_config={"chat_template": "{% if " + test + " %}tools!{% endif %}" + TEMPLATE}); model(f"{at}/r", tokenizer_config={"chat_template": TEMPLATE})
    case(name, "same", plan(), reference=plan("r"))


def adapter(at, weights="adapter_model.safetensors"):
    write(f"{at}/adapter_config.json", {"base_model_name_or_path": "meta-llama/Llama-2-7b-chat-hf", "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]})
    w = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}.weight": normal(*shape) for x, shape in (("A", (8, 64)), ("B", (64, 8)))}
    save_file(w, f"{at}/{weights}") if weights.endswith("safetensors") else write(f"{at}/{weights}", b"PK\x03\x04")


def main():
    neox, neox_w = gpt_neox(); small, small_w = gpt2(); mask = np.tril(np.ones((1, 1, 64, 64), np.uint8))
    masks("mask-buffers/pythia-u8", neox, neox_w, {f"gpt_neox.layers.{i}.attention.{name}": value for i in range(2) for name, value in {"bias": mask, "masked_bias": np.array(-1e9, np.float32), "rotary_emb.inv_freq": np.ones(1, np.float32)}.items()})
    masks("mask-buffers/gpt2-bool", small, small_w, {f"h.{i}.attn.bias": mask.astype(bool) for i in range(2)})
    masks("mask-buffers/gpt2-u8", small, small_w, {f"h.{i}.attn.{name}": value for i in range(2) for name, value in {"bias": mask, "masked_bias": np.array(-1e4, np.float32)}.items()})

    keys("config-keys/unsloth", {"unsloth_version": "2024.9", "unsloth_fixed": True})
    keys("config-keys/llama-1", {"max_sequence_length": 512})
    keys("config-keys/num-labels", {"_num_labels": 2, "_attn_implementation": "sdpa"})
    keys("config-keys/generic-1", dict(list(AT_DEFAULTS.items())[0::3])); keys("config-keys/generic-2", dict(list(AT_DEFAULTS.items())[1::3]))
    keys("config-keys/cross-attention", {"add_cross_attention": True}, refused="add_cross_attention")
    keys("config-keys/pruned", {"pruned_heads": {"0": [1]}}, refused="pruned_heads")
    keys("config-keys/labels", {"num_labels": 2, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "problem_type": None})
    keys("config-keys/chunked", {"attention_chunk_size": 8}, refused="attention_chunk_size")
    for name, window in (("window-twice", 32), ("windows-differ", 16)):
        at = folder(f"config-keys/{name}"); config, w = gemma("gemma2"); documents(at); other_model(f"{at}/m", config | {"sliding_window_size": window}, w); other_model(f"{at}/r", config, w)
        run = lambda m: harvest(m, site="blocks.1.hook_resid_post")
        case(f"config-keys/{name}", *(("same", run("m")) if window == 32 else ("refused", run("m"))), reference=run("r"), says="sliding_window_size")

    sae_keys("sae-keys/heuristic-norm", flat({"decoder_heuristic_init": True, "decoder_heuristic_init_norm": 0.1, "l1_coefficient": 5, "lp_norm": 1.0}))
    runner = {key: value for key, value in flat({"hook_point": SITE, "hook_point_layer": 3, "hook_point_eval": "blocks.{layer}.attn.pattern"}).items() if key not in ("hook_name", "hook_layer", "architecture", "activation_fn_str")}
    sae_keys("sae-keys/runner-1.3", runner)
    sae_keys("sae-keys/class-beside-metadata", {"model_class_name": "HookedTransformer"})
    sae_keys("sae-keys/layer-multi-topk", flat({"layer": 3, "multi_topk": False, "k": 32}))
    sae_keys("sae-keys/unknown", {"latent_bias_scale": 2.0}, refused="latent_bias_scale")
    sparsify_keys("sae-keys/skip-without-transcode", {"skip_connection": True, "multi_topk": False}, shows="skip_transcoder")
    sparsify_keys("sae-keys/clt-defaults", {**CLT_DEFAULTS, "transcode": True, "skip_connection": True}, shows="skip_transcoder")
    sparsify_keys("sae-keys/clt-normalized", {**CLT_DEFAULTS, "transcode": True, "skip_connection": True, "normalize_io": True}, refused="normalize_io")

    start, end = "<|im_start|>", "<|im_end|>"
    tokens("tokenizer-files/added-tokens-json", grown(start, end, listed=False) | {"added_tokens_json": {start: 512, end: 513}}, f"{start}user\nA cat sat{end}", reference=grown(start, end), says=r"im_start|im_end|added_tokens")
    token = lambda text: {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    named = {str(i): token(text) for i, text in enumerate(("<unk>", "<s>", "</s>"))} | {"512": token(start), "513": token(end)}
    tokens("tokenizer-files/added-tokens-decoder", grown(start, end, listed=False) | {"tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": named}}, f"{start}user\nA cat sat{end}", reference=grown(start, end), says=r"im_start|im_end|added_tokens")
    tokens("tokenizer-files/no-prefix-space", {"tokenizer_config": {"add_prefix_space": False, "legacy": False, "tokenizer_class": "LlamaTokenizer"}}, "overheard a cat </s> sat", shows=r"  o·ver·he·ar·d·▁a·▁c·at·▁·</s>·▁s·at", says="add_prefix_space")

    e = WEIGHTS["model.embed_tokens.weight"]
    head("tied-head/other-head", "lm_head.weight", (e * 0.5 + normal(512, 64)).astype(np.float32))
    head("tied-head/gpt2", "lm_head.weight", normal(512, 32), base=(small | {"tie_word_embeddings": True}, small_w))
    at = folder("tied-head/equal-head"); model(f"{at}/m", tensors=WEIGHTS | {"lm_head.weight": e.copy()}); model(f"{at}/r"); documents(at); sae(f"{at}/s"); case("tied-head/equal-head", "same", evaluate(), reference=evaluate(m="r", harvested="r"))

    at = folder("lora/adapter"); model(f"{at}/m", without=("config.json", "generation_config.json", "model.safetensors")); adapter(f"{at}/m"); documents(at); case("lora/adapter", "refused", harvest(), says="(?i)adapter|lora|peft")
    at = folder("lora/beside-the-base"); model(f"{at}/m"); adapter(f"{at}/m"); documents(at); case("lora/beside-the-base", "told", harvest(), says="(?i)adapter|lora|peft")
    at = folder("lora/with-configuration"); model(f"{at}/m", without=("model.safetensors",)); adapter(f"{at}/m"); documents(at); case("lora/with-configuration", "refused", harvest(), says="(?i)adapter|lora|peft")

    turns = [("user", "Who are you?"), ("assistant", "A cat.")]
    render = lambda turns: "".join(f"{role}: {text}\n" for role, text in turns).rstrip("\n")
    messages = lambda turns: [{"role": role, "content": text} for role, text in turns]
    chat("conversations/one-turn", [{"messages": messages(turns)}], render(turns), "messages")
    more = [("system", "Be brief."), *turns, ("user", "And now?"), ("assistant", "A dog.")]
    chat("conversations/several-turns", [{"messages": messages(more)}], render(more), "messages")
    chat("conversations/sharegpt", [{"conversations": [{"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in more[1:]]}], render(more[1:]), "conversations")

    ids("pretokenised/input-ids", lambda at, row: jsonl(f"{at}/d.jsonl", [{"input_ids": row}]) or "jsonl", "input_ids")
    ids("pretokenised/tokens-parquet", lambda at, row: parquet(f"{at}/d.parquet", "tokens", [row]) or "parquet", "tokens")
    ids("pretokenised/ids-with-mask", lambda at, row: jsonl(f"{at}/d.jsonl", [{"input_ids": row, "attention_mask": [1] * len(row), "labels": row}]) or "jsonl", "input_ids")

    bytes_as("compressed/jsonl-gz", "d.jsonl.gz", gzip.compress(BODY.encode()))
    bytes_as("compressed/gzip-by-another-name", "d.jsonl", gzip.compress(BODY.encode()), says="(?i)gzip|compress", never="iconv")
    at = folder("compressed/parquet-gzip"); model(f"{at}/m"); parquet(f"{at}/d.parquet", "text", TEXTS[:3], 2); parquet(f"{at}/r.parquet", "text", TEXTS[:3]); [manifest(f"{at}/{x}.toml", f"{x}.parquet") for x in "dr"]; case("compressed/parquet-gzip", "same", plan(), reference=plan(data="r"))
    bytes_as("compressed/json-gz", "c4.json.gz", gzip.compress(BODY.encode()))
    at = folder("compressed/parquet-brotli"); model(f"{at}/m"); parquet(f"{at}/d.parquet", "text", TEXTS[:3], 4); manifest(f"{at}/d.toml", "d.parquet"); case("compressed/parquet-brotli", "refused", plan(), says="(?i)brotli", never="Download or copy")
    bytes_as("bom/jsonl", "d.jsonl", b"\xef\xbb\xbf" + BODY.encode()); bytes_as("bom/text", "d.txt", b"\xef\xbb\xbf" + TEXTS[0].encode(), "r.txt")
    at = folder("bom/utf-16"); model(f"{at}/m"); write(f"{at}/d.jsonl", BODY.encode("utf-16")); manifest(f"{at}/d.toml", "d.jsonl"); case("bom/utf-16", "refused", plan(), says="UTF-8|UTF-16")
    quirk("json/nan", '"score": NaN'); quirk("json/lone-surrogate", '"title": "a \\ud83d cut emoji"')
    quirk("json/infinity", '"score": -Infinity, "rank": Infinity')

    t = json.loads(json.dumps(TOKENIZER)); t["added_tokens"].append({"id": 512, "content": "[PAD]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True})
    at = folder("pad/beyond-the-vocabulary"); model(f"{at}/m", tokenizer_config={"pad_token": "[PAD]"}, tokenizer_json=t); model(f"{at}/r"); documents(at); case("pad/beyond-the-vocabulary", "same", harvest(), reference=harvest("r"))
    at = folder("pad/used"); model(f"{at}/m", tokenizer_config={"pad_token": "[PAD]"}, tokenizer_json=t); documents(at, ["A cat [PAD] sat."]); case("pad/used", "refused", harvest(), says=r"\[PAD\]|512")

    same_weights("same-weights/two-shards", lambda at: shards(at, 2)); same_weights("same-weights/config-saved-again", lambda at: model(at, {"transformers_version": "4.46.0", "_name_or_path": "stories"}))
    same_weights("same-weights/others", lambda at: model(at, tensors={name: value * np.float32(1.1 if name.endswith("4.mlp.down_proj.weight") else 1) for name, value in WEIGHTS.items()}), refused="(?i)another model|differ|other")
    same_weights("same-weights/one-number", lambda at: model(at, tensors=WEIGHTS | {"model.norm.weight": WEIGHTS["model.norm.weight"] + np.eye(1, 64, 5, dtype=np.float32)[0]}), refused="(?i)another model|differ|other")

    generation("generation/repetition", "repetition_penalty", 1.3)
    generation("generation/suppressed", "suppress_tokens", [300, 301, 302])
    trained("sae-training/without-bos", r"(?i)\bbos\b|prepend_bos", prepend_bos=False); trained("sae-training/short-contexts", "(?i)context", context_size=16)
    trained("sae-training/special-tokens", "(?i)special", exclude_special_tokens=True)
    at = folder("threshold/never-set"); model(f"{at}/m"); documents(at); sae(f"{at}/s", {"architecture": "batchtopk", "k": 8}, {"topk_threshold": np.array(-1, np.float32)}); case("threshold/never-set", "told", evaluate(), says="(?i)threshold")

    at = folder("advice/configuration-for-weights"); sae(f"{at}/s"); case("advice/configuration-for-weights", "refused", inspect("s/cfg.json"), says="(?i)folder|sae_weights", never="Copy the file again")
    at = folder("advice/shards-without-index"); shards(f"{at}/m", 2); os.remove(f"{at}/m/model.safetensors.index.json"); documents(at); case("advice/shards-without-index", "refused", harvest(), says="index", never="convert them")
    at = folder("advice/sentencepiece-alone"); model(f"{at}/m", without=("tokenizer.json",)); write(f"{at}/m/tokenizer.model", b"\n\x0e\n\x05<unk>"); documents(at); case("advice/sentencepiece-alone", "refused", harvest(), says="tokenizer.model")
    at = folder("advice/folder-above"); sae(f"{at}/s/first"); sae(f"{at}/s/second"); case("advice/folder-above", "refused", inspect(), says="first|second")
    at = folder("advice/vocabulary-and-merges"); model(f"{at}/m", without=("tokenizer.json",)); write(f"{at}/m/vocab.json", {"a": 0}); write(f"{at}/m/merges.txt", "#version: 0.2\n"); documents(at); case("advice/vocabulary-and-merges", "refused", harvest(), says="vocab.json|merges.txt")

    multimodal("gemma-3/text-inside", lambda w, vision: {"language_model." + name: value for name, value in w.items()} | vision)
    template("template/none-is-iterable", "tools is iterable and tools | length > 0")
    template("template/documents", "documents is iterable and documents | length > 0")


if __name__ == "__main__":
    OUT = os.path.abspath(sys.argv[1])
    main()
    print(f"{len(CASES)} cases in {OUT}")
