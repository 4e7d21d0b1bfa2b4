"""The tokenizer of the networks that are trained from nothing: byte pairs, as BART's, learnt from the texts at hand."""

from collections.abc import Iterable
from typing import Any

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # BART's, with BART's ids


def make_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """A byte-level BPE of `vocab_size` tokens at most, a fast tokenizer of transformers. Any text can be written with it.

    It frames a text as `<s> … </s>`, and a pair as `<s> title </s> text </s>`: `<s>` is the bi-encoder's [CLS]. A text begins
    as if there were a blank before it: so a word is the same tokens at the beginning of a title, of a question or of an answer
    as in the midst of a passage, and can be found again, or copied.

    >>> tokenizer = make_tokenizer(["low lower lowest"] * 9, vocab_size=270)
    >>> tokenizer.convert_ids_to_tokens(tokenizer("lower")["input_ids"])
    ['<s>', 'Ġlower', '</s>']
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", [("<s>", 0), ("</s>", 2)])
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
