#!/usr/bin/env python3
"""Makes the cases of this folder: `cases/` and `damage.json`. Needs the packages blake3, xxhash and pyarrow.

    python store/conformance/make.py WRITER     the program examples/conformance_writer

Contents and hashes of rows (`expected.json`, `rows/`) come from this script alone; readers and writers have no part in
them. The writer makes each `cache/` from them, and pyarrow the activation files of `many-blocks`. Cases that
exist are kept.
"""

import hashlib
import json
import math
import random
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from blake3 import blake3
from xxhash import xxh3_64_intdigest

HERE = Path(__file__).resolve().parent
CASES = HERE / "cases"
PRE, POST, HEADS = "blocks.3.hook_resid_pre", "blocks.3.hook_resid_post", "blocks.3.attn.hook_z"
TEXT_LENGTHS = [[[6, 5], [4, 3, 1]], [[7, 2]]]
CHAT = ["bos", "control", "control", "user_prompt", "user_prompt", "control", "rollout", "rollout", "final", "final"]
SUBSETS = [None, "ArXiv", "Bücher"]
ONE_NAN = struct.pack("<I", 0x7FC00000)
BYTES = {"f32": 4, "bf16": 2, "f16": 2}

# Name: dtype, codec, sites with widths, lengths of sequences by row group and shard, predictions, kind of tokens.
TOP = {"top_k": 2, "full_logits": False}
CASE = {
    "bf16-planes": ("bf16", "planes", {PRE: 5, POST: 5}, TEXT_LENGTHS, TOP, "text"),
    "f32-planes-9": ("f32", "planes:9", {PRE: 4}, [[[10, 9]]], {"top_k": 0, "full_logits": True}, "chat"),
    "f16-planes": ("f16", "planes", {PRE: 4, HEADS: 3}, [[[3], [2, 2]]], None, "text"),
    "f16-raw": ("f16", "raw", {PRE: 3}, [[[4, 2]], [[3]]], {"top_k": 0, "full_logits": False}, "text"),
    "f32-raw": ("f32", "raw", {PRE: 2}, [[[5]]], None, "text"),
    "bf16-int8": ("bf16", "int8", {PRE: 6}, [[[5, 2], [3]]], {"top_k": 3, "full_logits": True}, "text"),
    "many-blocks": ("bf16", "planes", {PRE: 5}, [[[8, 7], [5]]], None, "text"),
}
SPECIAL = {
    "f32": [0x7FC00001, 0xFFA5A5A5, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001, 0x807FFFFF, 0x7F7FFFFF],
    "bf16": [0x7FC1, 0xFFA5, 0x7F80, 0xFF80, 0x8000, 0x0001, 0x807F, 0x7F7F],
    "f16": [0x7E01, 0xFD5A, 0x7C00, 0xFC00, 0x8000, 0x0001, 0x83FF, 0x7BFF],
}
"""NaNs with payloads, infinities, minus zero, subnormals, the largest number."""


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def number(dtype, word):
    """The number that a word of a dtype stands for."""
    if dtype == "f16":
        return struct.unpack("<e", struct.pack("<H", word))[0]
    return struct.unpack("<f", struct.pack("<I", word << 16 if dtype == "bf16" else word))[0]


def words_of(dtype, codec, rows, width, special, dice):
    """Words of `rows` rows: like a residual stream, with special values from the last row but one on where asked."""
    low, high, mantissa = {"f32": (118, 132, 23), "bf16": (118, 132, 7), "f16": (8, 20, 10)}[dtype]
    sign = BYTES[dtype] * 8 - 1
    made = []
    for _ in range(rows):
        if codec == "int8":
            # Multiples of a power of two, the largest of which is 127 of it: int8 rounds none.
            steps = [127 * dice.choice([1, -1])] + [dice.randint(-127, 127) for _ in range(width - 1)]
            dice.shuffle(steps)
            unit = 2.0 ** dice.randint(-6, 3)
            made.append([struct.unpack("<I", struct.pack("<f", step * unit))[0] >> 16 for step in steps])
        else:
            word = lambda: (
                dice.getrandbits(1) << sign | dice.randint(low, high) << mantissa | dice.getrandbits(mantissa)
            )
            made.append([word() for _ in range(width)])
    places = [(row, column) for row in range(rows - 2, -1, -1) for column in range(width)]
    for (row, column), word in zip(places, SPECIAL[dtype][: 1 if codec == "int8" else None] if special else []):
        made[row][column] = word
    return made


def pack(dtype, rows):
    return b"".join(struct.pack({4: "<I", 2: "<H"}[BYTES[dtype]], word) for row in rows for word in row)


def read_as(dtype, codec, rows):
    """Dtype and bytes of the rows as a reader gives them."""
    if codec != "int8":
        return dtype, pack(dtype, rows)
    numbers = [[number(dtype, word) for word in row] for row in rows]
    finite = [all(map(math.isfinite, row)) for row in numbers]
    return "f32", b"".join(
        struct.pack("<f", x) if whole else ONE_NAN for row, whole in zip(numbers, finite) for x in row
    )


def norm(dtype, row):
    """The Euclidean norm as float32; null if an element is NaN or infinite."""
    numbers = [number(dtype, word) for word in row]
    return f32(math.sqrt(math.fsum(x * x for x in numbers))) if all(map(math.isfinite, numbers)) else None


def corpus(kind, shards):
    sequences = sum(len(group) for shard in shards for group in shard)
    made = {
        "name": "conformance",
        "tokenizer": {"blake3": "11" * 32, "vocab_size": 12, "bos_id": 1, "bos_text": "<s>"},
        "data": {
            "files": [{"path": "texts/some.jsonl", "bytes": 1234, "blake3": "22" * 32}],
            "text_field": "text",
            "subset_field": "meta.set" if kind == "text" else None,
            "max_tokens": None,
            "seed": 7,
            "shuffle_buffer": None,
            "documents": sequences,
        },
    }
    if kind == "chat":
        source = "[INST] {instruction} [/INST]"
        made["chat"] = {
            "template": "mistral",
            "template_source": source,
            "template_blake3": blake3(source.encode()).hexdigest(),
            "end_of_turn": ["</s>"],
            "instruction_field": "instruction",
            "rollout_field": "output",
            "drop_last_character": False,
            "unusable_rows": "refuse",
        }
    return made | {
        "packing": "concat" if kind == "text" else "per-document",
        "context_length": 16,
        "row_group_rows": 8,
        "shard_tokens": 16,
    }


def settings(dtype, codec, sites, predictions):
    d_model = sites[PRE]
    model = {
        "model_type": "llama",
        "identity": {"facts": {"dtype": "bf16", "rope_theta": "10000"}, "tensors_sha256": "33" * 32},
        "precision": dtype,
        "vocab_size": 12,
        "d_model": d_model,
        "n_blocks": 5,
        "context_length": 64,
    }
    widths = {site: width for site, width in sites.items() if width != d_model}
    made = {"model": model, "sites": sorted(sites)}
    return (
        made
        | ({"site_widths": widths} if widths else {})
        | {"dtype": dtype, "codec": codec, "predictions": predictions}
    )


def tables(kind, shard, first, dice):
    """The sequences of a shard, and its tokens by column. In running text, documents may begin within a sequence."""
    sequences, tokens = [], {name: [] for name in ["sequence", "position", "token", "section", "document", "subset"]}
    lengths = [(row_group, length) for row_group, group in enumerate(shard) for length in group]
    for place, (row_group, length) in enumerate(lengths):
        # Also a number that float64 does not hold.
        sequence, document = first + place, 100 + first + place if place != 1 else 2**53 + 1
        subset = SUBSETS[sequence % 3] if kind == "text" else None
        entry = {"sequence": sequence, "document": document, "subset": subset, "first_row": len(tokens["token"])}
        sequences.append(entry | {"length": length, "row_group": row_group})
        for position in range(length):
            inner = kind == "text" and position >= 4
            tokens["sequence"].append(sequence)
            tokens["position"].append(position)
            tokens["token"].append(1 if position == 0 else dice.randrange(2, 12))
            tokens["section"].append(CHAT[position] if kind == "chat" else "bos" if position == 0 else "text")
            tokens["document"].append(document + inner)
            tokens["subset"].append("ArXiv" if inner else subset)
    return sequences, tokens


def predictions_of(kept, sequences, dtype, logits, rows, dice):
    """Loss, logsumexp and entropy of some model, and the largest logits: of `logits`, where these are kept."""
    last = {sequence["first_row"] + sequence["length"] - 1 for sequence in sequences}
    some = lambda: f32(dice.uniform(0.01, 9))
    made = {
        "loss": [None if row in last else some() for row in range(rows)],
        "logsumexp": [some() for _ in range(rows)],
        "entropy": [some() for _ in range(rows)],
    }
    if kept["top_k"]:
        values = (
            [[number(dtype, word) for word in row] for row in logits]
            if logits
            else [[some() for _ in range(12)] for _ in range(rows)]
        )
        ids = [sorted(range(12), key=lambda token: (-row[token], token))[: kept["top_k"]] for row in values]
        made["top_ids"] = ids
        made["top_logits"] = [[row[token] for token in top] for row, top in zip(values, ids)]
    return made


def make_case(name):
    dtype, codec, sites, shards, kept, kind = CASE[name]
    dice = random.Random(name)
    folder = CASES / name
    made = []
    for index, shard in enumerate(shards):
        first = sum(len(group) for before in shards[:index] for group in before)
        sequences, tokens = tables(kind, shard, first, dice)
        rows = len(tokens["token"])
        stored = {
            site: words_of(dtype, codec, rows, sites[site], site == PRE and index == 0, dice) for site in sorted(sites)
        }
        logits = words_of(dtype, codec, rows, 12, False, dice) if kept and kept["full_logits"] else None
        written = folder / "rows" / f"{index:05}"
        written.mkdir(parents=True)
        for file, words in (stored | ({"logits": logits} if logits else {})).items():
            (written / f"{file}.bin").write_bytes(pack(dtype, words))

        def rows_of(words):
            read_dtype, data = read_as(dtype, codec, words)
            return {"dtype": read_dtype, "shape": [rows, len(words[0])], "sha256": hashlib.sha256(data).hexdigest()}

        made.append(
            {
                "index": index,
                "sequences": sequences,
                "tokens": tokens,
                "predictions": predictions_of(kept, sequences, dtype, logits, rows, dice) if kept else None,
                "residual_norms": {site: [norm(dtype, row) for row in words] for site, words in stored.items()},
                "activations": {site: rows_of(words) for site, words in stored.items()},
                "logits": rows_of(logits) if logits else None,
            }
        )
    expected = {
        "format": 1,
        "corpus": corpus(kind, shards),
        "settings": settings(dtype, codec, sites, kept),
        "shards": made,
    }
    (folder / "expected.json").write_text(compact(expected) + "\n")


def compact(value, depth=0):
    """JSON in which a list or object of plain values is one line."""
    inside = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)) or not any(isinstance(item, (dict, list)) for item in inside):
        return json.dumps(value, ensure_ascii=False)
    pad = "\n" + "  " * (depth + 1)
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{pad}{json.dumps(key)}: {compact(item, depth + 1)}" for key, item in value.items())
            + "\n"
            + "  " * depth
            + "}"
        )
    return "[" + ",".join(pad + compact(item, depth + 1) for item in value) + "\n" + "  " * depth + "]"


def sealed(text):
    """A JSON file with the checksum of what it now says."""
    body = text[: text.rindex(',\n  "checksum"')]
    return f'{body},\n  "checksum": "{blake3(body.encode()).hexdigest()}"\n}}\n'


def replace_record(text, path, data):
    """A JSON file in which the record of the file `path` is that of `data`."""
    place = text.index(f'"path": "{path}"')
    before, after = text[:place], text[place:]
    record = json.loads(f"{{{after[: after.index('}')]}}}")
    for field, new in [("bytes", len(data)), ("blake3", blake3(data).hexdigest())]:
        after = after.replace(f'"{field}": {json.dumps(record[field])}', f'"{field}": {json.dumps(new)}', 1)
    return before + after


def cut_into_blocks(name, block_rows):
    """Writes the activation files of a case again: blocks of few rows, and pages that are smaller still."""
    cache = CASES / name / "cache"
    for shard in sorted((cache / "shards").iterdir()):
        path = shard / f"{PRE}.parquet"
        file = pq.ParquetFile(path)
        groups = [file.read_row_group(group) for group in range(file.num_row_groups)]
        columns = groups[0].column_names
        hashes = []
        for group in groups:
            bytes_of = {column: b"".join(group[column].to_pylist()) for column in columns}
            width = {column: len(data) // len(group) for column, data in bytes_of.items()}
            blocks = range(0, len(group), block_rows)
            digest = lambda column, row: xxh3_64_intdigest(
                bytes_of[column][row * width[column] : (row + block_rows) * width[column]]
            )
            hashes.append({column: "".join(f"{digest(column, row):016x}" for row in blocks) for column in columns})
        metadata = dict(file.schema_arrow.metadata)
        metadata |= {
            b"hayloft.block_rows": str(block_rows).encode(),
            b"hayloft.xxh3": json.dumps(hashes, separators=(",", ":")).encode(),
        }
        writer = pq.ParquetWriter(
            path,
            file.schema_arrow.remove_metadata(),
            version="1.0",
            use_dictionary=False,
            write_statistics=False,
            compression={"exponent": "ZSTD", "mantissa": "NONE"},
            column_encoding=dict.fromkeys(columns, "PLAIN"),
            data_page_version="1.0",
            data_page_size=1,
            write_batch_size=2,
            store_schema=False,
        )
        for group in groups:
            writer.write_table(group.replace_schema_metadata(), row_group_size=len(group))
        writer.add_key_value_metadata(metadata)
        writer.close()
        data = path.read_bytes()
        footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
        own = (shard / "shard.json").read_text()
        old = json.loads(own)["sites"][0]["footer_blake3"]
        own = sealed(replace_record(own, path.name, data).replace(old, blake3(footer).hexdigest()))
        (shard / "shard.json").write_text(own)
        manifest = (cache / "manifest.json").read_text()
        manifest = replace_record(replace_record(manifest, path.name, data), "shard.json", own.encode())
        (cache / "manifest.json").write_text(sealed(manifest))


def flip(case, file, offset):
    """An edit that flips a bit of a byte."""
    was = (CASES / case / "cache" / file).read_bytes()[offset]
    return {"file": file, "offset": offset, "was": f"{was:02x}", "bytes": f"{was ^ 4:02x}"}


def replaced(case, file, old, new, last=False):
    """The edits that replace a text of a JSON file by one of the same length, and its checksum by the new one."""
    text = (CASES / case / "cache" / file).read_text()
    place = text.rindex(old) if last else text.index(old)
    changed = text[:place] + new + text[place + len(old) :]
    before, after = text.encode(), sealed(changed).encode()
    assert len(before) == len(after), (case, file, old, new)
    edits = []
    for offset in (len(text[:place].encode()), before.rindex(b'"checksum": "') + 13):
        length = len(old.encode()) if not edits else 64
        edits.append(
            {
                "file": file,
                "offset": offset,
                "was": before[offset : offset + length].hex(),
                "bytes": after[offset : offset + length].hex(),
            }
        )
    return edits


def damages():
    """Each damage: its name, what a reader must do, the case, and the edits."""
    text, shard = "bf16-planes", "shards/00000"
    file = f"{shard}/{PRE}.parquet"
    data = (CASES / text / "cache" / file).read_bytes()
    frame, footer = data.index(b"\x28\xb5\x2f\xfd"), len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    mantissa = pq.ParquetFile(CASES / text / "cache" / file).metadata.row_group(1).column(1)
    mantissa_end = mantissa.data_page_offset + mantissa.total_compressed_size

    def middle_of(case, name, column):
        chunk = pq.ParquetFile(CASES / case / "cache" / name).metadata.row_group(0).column(column)
        return chunk.data_page_offset + chunk.total_compressed_size - 2

    one = lambda case, name, offset: [flip(case, name, offset)]
    mean = json.loads((CASES / text / "cache/manifest.json").read_text())["sites"][1]["mean_norm"]
    other = str(mean)[:-1] + ("1" if str(mean)[-1] != "1" else "2")
    in_raw, in_int8, logits = (f"{shard}/{name}.parquet" for name in (PRE, PRE, "logits"))
    return [
        ("manifest-byte", "refuse", text, one(text, "manifest.json", 60)),
        ("manifest-of-another-version", "refuse", text, replaced(text, "manifest.json", '"format": 1', '"format": 2')),
        (
            "manifest-path-leaves-the-folder",
            "refuse",
            text,
            replaced(text, "manifest.json", '"shards/00000"', '"../ards/0000"'),
        ),
        (
            "manifest-absolute-path",
            "refuse",
            text,
            replaced(text, "manifest.json", '"tokens.parquet"', '"/okens.parquet"'),
        ),
        ("shard-json-byte", "refuse", text, one(text, f"{shard}/shard.json", 80)),
        ("tokens-byte", "refuse", text, one(text, f"{shard}/tokens.parquet", 40)),
        ("sequences-byte", "refuse", text, one(text, f"{shard}/sequences.parquet", 30)),
        ("activations-cut-short", "refuse", text, [{"file": file, "length": len(data) - 1}]),
        ("activations-empty", "refuse", text, [{"file": file, "length": 0}]),
        ("activations-footer-byte", "refuse", text, one(text, file, footer + 20)),
        ("activations-footer-length", "refuse", text, one(text, file, len(data) - 8)),
        ("planes-exponent-byte", "refuse", text, one(text, file, frame + 9)),
        ("planes-mantissa-byte", "refuse", text, one(text, file, mantissa_end - 3)),
        ("raw-bits-byte", "refuse", "f16-raw", one("f16-raw", in_raw, middle_of("f16-raw", in_raw, 0))),
        ("int8-scale-byte", "refuse", "bf16-int8", one("bf16-int8", in_int8, middle_of("bf16-int8", in_int8, 0))),
        ("int8-quantised-byte", "refuse", "bf16-int8", one("bf16-int8", in_int8, middle_of("bf16-int8", in_int8, 1))),
        ("logits-byte", "refuse", "f32-planes-9", one("f32-planes-9", logits, middle_of("f32-planes-9", logits, 1))),
        ("block-byte", "refuse", "many-blocks", one("many-blocks", file, middle_of("many-blocks", file, 1))),
        ("page-header-byte", "verify", text, one(text, file, 5)),
        ("plan-byte", "verify", text, one(text, "plan.json", 60)),
        ("planned-tokens-byte", "verify", text, one(text, "plan/00000/tokens.parquet", 40)),
        ("mean-norm-of-the-manifest", "verify", text, replaced(text, "manifest.json", str(mean), other)),
    ]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name in CASE:
        if (CASES / name).exists():
            continue
        make_case(name)
        subprocess.run([sys.argv[1], CASES / name, CASES / name / "cache"], check=True)
        (CASES / name / "cache/.lock").unlink()
        if name == "many-blocks":
            cut_into_blocks(name, block_rows=4)
    listed = [{"name": name, "case": case, "must": must, "edits": edits} for name, must, case, edits in damages()]
    (HERE / "damage.json").write_text("[\n" + ",\n".join("  " + json.dumps(damage) for damage in listed) + "\n]\n")


if __name__ == "__main__":
    main()
