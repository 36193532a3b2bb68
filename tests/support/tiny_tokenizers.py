"""Tokenizers of a few hundred tokens, trained here, in the files that the hub has of real ones."""

from __future__ import annotations

import json
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = (
    "a photo of a cat. a photo of a dog. a picture of a small brown bird on a branch",
    "a diagram of the human heart, labelled by hand in 1923, with notes on the margin",
    "ein Foto von einem Hund, une photo d'un chat, una foto de una casa roja, 3 žluté květiny",
    "写真 猫 犬 фотография кошки صورة قطة φωτογραφία γάτας",
)
VOCABULARY = 320


@cache
def unigram(*marks: str) -> tuple[tuple[str, float], ...]:
    """Pieces and their scores, as SentencePiece has them, the marks first."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(marks),
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tuple(
        (piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]
    )


@cache
def bpe(*marks: str) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """A vocabulary and its merges, the marks first, then all bytes as `<0x00>`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY + 256,
        special_tokens=[*marks, *byte_pieces],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return dict(model["vocab"]), tuple((first, second) for first, second in model["merges"])


def write_siglip(folder: Path) -> None:
    """SigLIP's first, which transformers has as a file of SentencePiece alone."""
    from sentencepiece import SentencePieceTrainer
    from transformers import SiglipTokenizer

    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=model,
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,  # the corpus has no more
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    folder.mkdir(exist_ok=True)
    file = folder / "spiece.model"
    file.write_bytes(model.getvalue())
    SiglipTokenizer(str(file)).save_pretrained(folder)


def write_t5(folder: Path) -> None:
    """SigLIP's: SentencePiece, padded with its end mark."""
    from transformers import T5Tokenizer

    vocabulary = list(unigram("<pad>", "</s>", "<unk>"))
    T5Tokenizer(vocab=vocabulary, pad_token="</s>", extra_ids=0).save_pretrained(folder)


def write_gemma(folder: Path) -> None:
    """SigLIP 2's: BPE with single bytes, an end mark, no start mark."""
    from transformers import GemmaTokenizer

    vocabulary, merges = bpe("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    GemmaTokenizer(
        vocab=vocabulary,
        merges=list(merges),
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
    ).save_pretrained(folder)


def write_xlm_roberta(folder: Path) -> None:
    """MetaCLIP 2's, and of xlm-roberta: SentencePiece between two marks."""
    from transformers import XLMRobertaTokenizer

    vocabulary = list(unigram("<s>", "<pad>", "</s>", "<unk>"))
    XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)]).save_pretrained(folder)


def write_nllb(folder: Path) -> None:
    """NLLB's: BPE, with a language's mark first and an end mark."""
    from transformers import NllbTokenizer

    vocabulary, merges = bpe("<s>", "<pad>", "</s>", "<unk>")
    NllbTokenizer(
        vocab=vocabulary,
        merges=list(merges),
        extra_special_tokens=["eng_Latn", "deu_Latn"],
        src_lang="eng_Latn",
    ).save_pretrained(folder)


def write_bert(folder: Path) -> None:
    """CLIPA's: lower-case WordPiece between [CLS] and [SEP]."""
    from transformers import BertTokenizer

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({letter for text in CORPUS for letter in text.lower() if letter != " "})
    words = ["photo", "of", "cat", "dog", "ein", "foto", "von", "bird", "##er", "##ure"]
    pieces = dict.fromkeys([*marks, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
