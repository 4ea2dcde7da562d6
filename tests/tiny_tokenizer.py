"""A byte-level tokenizer of a few hundred entries."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers


def tiny_tokenizer(texts: list[str], size: int = 300) -> Tokenizer:
    """Trained on `texts`; `<|endoftext|>` is its first entry."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken("<|endoftext|>", special=True)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
