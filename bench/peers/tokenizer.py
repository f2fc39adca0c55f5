"""fledge's tokenizer side by side with tiktoken and Hugging Face's tokenizers: the programs take turns, ids and merges
are compared, and the medians of the ratios are printed.

    python3 bench/peers/tokenizer.py --bench build/bench/bench_tokenizer --text FILE --ranks gpt2.tiktoken [--rounds 5]

FILE is UTF-8 text (20 MB of English for the published numbers). gpt2.tiktoken lies in the PyPI package openai-whisper.
Needs `tiktoken` and `tokenizers`.
"""
import argparse
import array
import base64
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def run_fledge(arguments, threads, *words):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    return json.loads(subprocess.run([arguments.bench, *map(str, words)], env=environment, check=True,
                                     stdout=subprocess.PIPE, text=True).stdout)


def timed(call):
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def peer(threads, verb, *words):
    """Runs this script again as a peer, in a process of its own, so that its thread count can be set."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
    command = [sys.executable, __file__, "--peer", verb, *map(str, words)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def tiktoken_encode(text_file, rank_file, ids_file):
    import tiktoken
    lines = pathlib.Path(rank_file).read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    encoding = tiktoken.Encoding("gpt2", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})
    text = pathlib.Path(text_file).read_bytes().decode()
    seconds, ids = min((timed(lambda: encoding.encode_ordinary(text)) for _ in range(3)), key=lambda pair: pair[0])
    pathlib.Path(ids_file).write_bytes(array.array("i", ids).tobytes())
    return {"seconds": seconds, "tokens": len(ids)}


def hugging_face_train(text_file, size, out_file):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=int(size), min_frequency=2, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    seconds, _ = timed(lambda: tokenizer.train([text_file], trainer))
    tokenizer.save(out_file)
    return {"seconds": seconds}


def hugging_face_encode(text_file, tokenizer_file, ids_file):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = pathlib.Path(text_file).read_bytes().decode()
    # Its own speed falls with the length of a text; these are documents of about 2 KiB.
    documents, start = [], 0
    while start < len(text):
        end = text.find("\n", start + 2048)
        end = len(text) if end < 0 else end + 1
        documents.append(text[start:end])
        start = end
    seconds, encoded = timed(lambda: tokenizer.encode_batch(documents, add_special_tokens=False))
    ids = array.array("i")
    for encoding in encoded:
        ids.extend(encoding.ids)
    pathlib.Path(ids_file).write_bytes(ids.tobytes())
    return {"seconds": seconds, "tokens": len(ids), "documents": len(documents)}


def merges_of(file):
    merges = json.loads(pathlib.Path(file).read_text())["model"]["merges"]
    return [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]


def compare(name, rounds, ours, theirs, megabytes):
    ratios, fledge, other = [], [], []
    for _ in range(rounds):
        fledge.append(ours()["seconds"])
        other.append(theirs()["seconds"])
        ratios.append(other[-1] / fledge[-1])
    print(f"{name}: fledge {statistics.median(fledge):.3f} s ({megabytes / statistics.median(fledge):.1f} MB/s), peer "
          f"{statistics.median(other):.3f} s ({megabytes / statistics.median(other):.1f} MB/s), ratio {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--ranks", help="GPT-2's rank file, for the comparison with tiktoken and of training")
    parser.add_argument("--tokenizer", nargs="*", default=[], help="tokenizer.json files of any kind, for encoding alone")
    parser.add_argument("--vocab-size", type=int, default=32000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    megabytes = os.path.getsize(arguments.text) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = f"{folder}/ours", f"{folder}/theirs"
        for file in arguments.tokenizer:
            compare(f"encode, {file}, documents of 2 KiB, one thread, against tokenizers", arguments.rounds,
                    lambda: run_fledge(arguments, 1, "encode", file, arguments.text, "--documents", 2048, "--ids", ours, "--repeat", 1),
                    lambda: peer(1, "hugging_face_encode", arguments.text, file, theirs), megabytes)
            print("  ids equal:", pathlib.Path(ours).read_bytes() == pathlib.Path(theirs).read_bytes())
        if not arguments.ranks:
            return
        compare("encode, GPT-2's vocabulary, one thread, against tiktoken", arguments.rounds,
                lambda: run_fledge(arguments, 1, "encode", arguments.ranks, arguments.text, "--ids", ours),
                lambda: peer(1, "tiktoken_encode", arguments.text, arguments.ranks, theirs), megabytes)
        print("  ids equal:", pathlib.Path(ours).read_bytes() == pathlib.Path(theirs).read_bytes())
        for threads in (1, 2):
            compare(f"train, {arguments.vocab_size} tokens, {threads} thread(s), against tokenizers", arguments.rounds,
                    lambda: run_fledge(arguments, threads, "train", arguments.text, f"{folder}/trained", "--lines",
                                       "--vocab-size", arguments.vocab_size),
                    lambda: peer(threads, "hugging_face_train", arguments.text, arguments.vocab_size,
                                 f"{folder}/trained.json"), megabytes)
        print("  merges equal:", merges_of(f"{folder}/trained/tokenizer.json") == merges_of(f"{folder}/trained.json"))
        for threads in (1, 2):
            compare(f"encode, trained vocabulary, documents of 2 KiB, {threads} thread(s), against tokenizers", arguments.rounds,
                    lambda: run_fledge(arguments, threads, "encode", f"{folder}/trained", arguments.text,
                                       "--documents", 2048, "--ids", ours, "--repeat", 1),
                    lambda: peer(threads, "hugging_face_encode", arguments.text, f"{folder}/trained.json", theirs),
                    megabytes)


if sys.argv[1:2] == ["--peer"]:
    print(json.dumps(globals()[sys.argv[2]](*sys.argv[3:])))
else:
    main()
