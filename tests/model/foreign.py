"""Models and tokenizers as others publish them, made here: the forms of CodeGen's tokenizer and of phi's weights."""

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = '''def count_vowels(text):
    """Count the vowels of a text, such as größe."""
    total = 0
    for letter in text:
            if letter in "aeiou":
                    total += 1
    return total
'''


def merges_tokenizer(directory, entries=400):
    """vocab.json, merges.txt and added_tokens.json: end-of-text is the last entry of the vocabulary, runs of spaces
    follow it, as in CodeGen's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=entries, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([TEXT] * 20, trainer)
    directory.mkdir(parents=True, exist_ok=True)
    made.model.save(str(directory))
    vocabulary = json.loads((directory / "vocab.json").read_text())
    vocabulary["<|endoftext|>"] = len(vocabulary)
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    runs = {" " * length: len(vocabulary) + place for place, length in enumerate(range(31, 1, -1))}
    (directory / "added_tokens.json").write_text(json.dumps(runs))
    return len(vocabulary) + len(runs)


def json_tokenizer(directory):
    """tokenizer.json, end-of-text as the special token it is there."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([TEXT], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    made.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    directory.mkdir(parents=True, exist_ok=True)
    made.save(str(directory / "tokenizer.json"))
    return made.get_vocab_size()


def their_phi(rows, end_of_text, seed=0, **changes):
    """A small PhiForCausalLM of transformers, its weights far from uniform."""
    from transformers import PhiConfig, PhiForCausalLM

    torch.manual_seed(seed)
    fields = {
        "vocab_size": rows,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 160,
        "partial_rotary_factor": 0.5,
        "bos_token_id": None,
        "eos_token_id": end_of_text,
    }
    phi = PhiForCausalLM(PhiConfig(**(fields | changes)))
    with torch.no_grad():
        for name, parameter in phi.named_parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.1 if "layernorm" in name else 0.12))
    return phi.eval()
