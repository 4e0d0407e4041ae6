"""Tokenizer folders: loading, special tokens by every route, saving for transformers, refusals."""

import json

import pytest
import tokenizers

from glore_jax.errors import UserError
from glore_jax.models import hf_auto
from glore_jax.models.tokenizer import Tokenizer

TEXT = "Rosa has <<22+10=32>>32 pies.\n#### 32"


@pytest.fixture
def folder(tmp_path, tokenizer):
    """A folder with tokenizer.json alone."""
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").unlink()
    return tmp_path


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_round_trip_of_text(tokenizer):
    ids = tokenizer.encode(TEXT)
    assert all(type(i) is int for i in ids)
    assert tokenizer.bos_id not in ids and tokenizer.eos_id not in ids  # nothing is added
    assert tokenizer.decode(ids) == TEXT


def test_decode_drops_begin_end_and_padding(tokenizer):
    ids = [tokenizer.bos_id, *tokenizer.encode("ab"), tokenizer.eos_id, tokenizer.pad_id]
    assert tokenizer.decode(ids) == "ab"


def test_save_and_load(tmp_path, tokenizer):
    marked = tokenizer.with_token("[BAD]")
    marked.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.encode("a[BAD]b") == marked.encode("a[BAD]b")
    for name in ("vocab_size", "bos_id", "eos_id", "pad_id", "bad_id"):
        assert getattr(again, name) == getattr(marked, name), name


def test_with_token(tokenizer):
    size = tokenizer.vocab_size
    marked = tokenizer.with_token("[BAD]")
    assert (tokenizer.vocab_size, tokenizer.bad_id) == (size, None)  # the old one is left as it is
    assert (marked.vocab_size, marked.bad_id) == (size + 1, size)
    assert len(tokenizer.encode("[BAD]")) == 5
    assert marked.encode("a[BAD]b") == [*marked.encode("a"), size, *marked.encode("b")]
    assert marked.decode(marked.encode("a[BAD]b")) == "a[BAD]b"
    assert (marked.eos_id, marked.bos_id, marked.pad_id) == (
        tokenizer.eos_id,
        tokenizer.bos_id,
        tokenizer.pad_id,
    )
    assert marked.with_token("[BAD]").vocab_size == size + 1


def test_one_beginning_of_text(tokenizer):
    assert tokenizer.begun("ab") == tokenizer.begun("<s>ab") == [92, *tokenizer.encode("ab")]


@pytest.fixture
def sentencepiece():
    """Words with their spaces, of which the first of a text goes."""
    words = {word: i for i, word in enumerate(["<s>", "</s>", "▁Mia", "▁has", "▁apples", "\n"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="</s>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    backend.decoder = tokenizers.decoders.Metaspace()
    return Tokenizer(backend, bos_id=0, eos_id=1)


def test_a_continuation_keeps_its_space(sentencepiece):
    before = [0, *sentencepiece.encode("Mia has")]
    assert before == [0, 2, 3]
    assert sentencepiece.decode([4]) == "apples"
    assert sentencepiece.continuation(before, [4]) == " apples"
    assert sentencepiece.continuation([0], [4]) == "apples"
    assert sentencepiece.continuation(before, []) == ""


SPECIALS = [
    ("tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"}),
    (
        "tokenizer_config.json",
        {
            "bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": False},
            "eos_token": {"__type": "AddedToken", "content": "</s>"},
        },
    ),
    (
        "special_tokens_map.json",
        {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": {"content": "</s>"}},
    ),
    ("special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>"}),
    ("config.json", {"model_type": "llama", "bos_token_id": 92, "eos_token_id": 93}),
    ("config.json", {"model_type": "llama", "bos_token_id": 92, "eos_token_id": [93, 5]}),
]


@pytest.mark.parametrize(("name", "content"), SPECIALS, ids=[n for n, _ in SPECIALS])
def test_where_special_tokens_are_said(folder, name, content):
    write(folder, name, content)
    loaded = Tokenizer.load(folder)
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (
        92,
        93,
        93,
    )  # padding falls back to the end of text


def test_the_tokenizer_is_asked_before_the_model(folder):
    write(folder, "config.json", {"model_type": "llama", "eos_token_id": 5, "pad_token_id": 7})
    write(folder, "tokenizer_config.json", {"eos_token": "</s>", "bos_token": None})
    loaded = Tokenizer.load(folder)
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (None, 93, 7)


@pytest.mark.parametrize("pad", [-1, 4000, None])
def test_a_padding_that_is_none_is_the_end_of_text(folder, pad):
    write(folder, "config.json", {"model_type": "llama", "eos_token_id": 93, "pad_token_id": pad})
    assert Tokenizer.load(folder).pad_id == 93


def test_no_beginning_of_text_where_the_tokenizer_is_told_to_add_none(folder):
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    for said, bos_id in ((True, 92), (False, None)):
        write(folder, "tokenizer_config.json", special | {"add_bos_token": said})
        assert Tokenizer.load(folder).bos_id == bos_id


def test_no_beginning_of_text_where_nothing_adds_one(folder):
    """A token may be named and yet stand before no text, as in SmolLM2."""
    write(folder, "tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>"})
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = None
    write(folder, "tokenizer.json", content)
    assert Tokenizer.load(folder).bos_id is None


def test_an_end_of_text_that_tokenizer_json_adds_stays_out_of_texts(folder):
    """Of what is put around a text, only the beginning is ours to put."""
    special = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    write(folder, "tokenizer_config.json", special | {"add_eos_token": True})
    loaded = Tokenizer.load(folder)
    assert (loaded.bos_id, loaded.eos_id) == (92, 93)
    loaded.save(folder)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert backend.encode("ab").ids == [92, *loaded.encode("ab")]


def test_vocab_size_covers_the_highest_id(folder):
    """Ids may have gaps; the embedding needs a row for the highest."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["£"] = 200
    write(folder, "tokenizer.json", content)
    write(folder, "config.json", {"model_type": "llama", "eos_token_id": 93})
    assert Tokenizer.load(folder).vocab_size == 201


def test_stored_truncation_and_padding_are_switched_off(folder):
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(folder / "tokenizer.json"))
    write(folder, "config.json", {"model_type": "llama", "eos_token_id": 93})
    assert len(Tokenizer.load(folder).encode("seven!!")) == 7


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("tokenizer.json", None, "no tokenizer"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("tokenizer.json", "{", "tokenizer.json"),
        ("tokenizer.json", {"model": 3}, "tokenizer.json"),
        ("tokenizer_config.json", "{", "tokenizer_config.json"),
        ("tokenizer_config.json", [1], "tokenizer_config.json"),
        ("tokenizer_config.json", {"bos_token": "<s>"}, "end-of-text"),
        ("config.json", {"model_type": "llama", "eos_token_id": 4000}, "4000"),
        ("config.json", {"model_type": "llama", "eos_token_id": []}, "end-of-text"),
    ],
)
def test_refusals(folder, name, content, named):
    if content is None:
        (folder / name).unlink()
    else:
        write(folder, name, content)
    with pytest.raises(UserError, match=named) as refused:
        Tokenizer.load(folder)
    assert str(folder) in str(refused.value)


def test_an_end_of_text_without_a_row_in_the_model(folder):
    """transformers gives a token that no file has the next free id."""
    write(folder, "tokenizer_config.json", {"eos_token": "<end>"})
    write(folder, "config.json", {"model_type": "llama", "vocab_size": 94})
    with pytest.raises(UserError, match="'<end>' is not in the vocabulary"):
        Tokenizer.load(folder)


def test_code_of_a_folder_is_not_run(folder):
    code = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    write(folder, "tokenizer_config.json", {**code, "eos_token": "</s>"})
    write(folder, "mine.py", "raise SystemExit('was run')")
    try:
        loaded = Tokenizer.load(folder)
    except UserError as refused:
        assert str(folder) in str(refused)
    else:
        assert loaded.eos_id == 93


@pytest.mark.parametrize(
    "with_config", [False, True], ids=["tokenizer alone", "beside a llama config"]
)
def test_transformers_loads_it(tmp_path, tokenizer, tiny, with_config):
    transformers = pytest.importorskip("transformers")
    marked = tokenizer.with_token("[BAD]")
    marked.save(tmp_path)
    if with_config:  # AutoTokenizer must not take its own idea of a llama tokenizer from here
        write(tmp_path, "config.json", tiny().to_hf())
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = TEXT + "[BAD] x"
    assert theirs.encode(text, add_special_tokens=False) == marked.encode(text)
    assert theirs.encode(text) == [92, *marked.encode(text)]  # as the model was trained
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (92, 93, 93)
    assert theirs.convert_tokens_to_ids("[BAD]") == marked.bad_id
    theirs.save_pretrained(tmp_path / "again")
    again = Tokenizer.load(tmp_path / "again")
    assert again.encode(text) == marked.encode(text)
    assert (again.bos_id, again.eos_id, again.pad_id, again.bad_id) == (92, 93, 93, marked.bad_id)


CHAT = (
    "{% for message in messages %}{{ bos_token }}{{ message.role }}: {{ message.content }}"
    "{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def with_chat(folder, template):
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": template}
    write(folder, "tokenizer_config.json", config)
    return Tokenizer.load(folder)


def test_chat(folder, tmp_path):
    expected = "<s>user: {question}</s>\nassistant: "
    loaded = with_chat(folder, CHAT)
    assert loaded.chat_prompt() == loaded.with_token("[BAD]").chat_prompt() == expected
    loaded.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").chat_prompt() == expected
    library = hf_auto.library()
    theirs = library.AutoTokenizer.from_pretrained(tmp_path / "saved")
    said = [{"role": "user", "content": "{question}"}]
    rendered = theirs.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert rendered == expected


def test_the_day_is_no_part_of_a_chat(folder):
    dated = "{{ date_string }} {{ strftime_now('%Y') }} {{ enable_thinking }} "
    loaded = with_chat(folder, dated + "{{ messages[0].content }}")
    assert loaded.chat_prompt() == "26 Jul 2024 26 Jul 2024 False {question}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('only tools') }}", "the model's chat template fails: only tools"),
        ("{% for", "the model's chat template fails: "),
        ("no user", "the model's chat template does not put in what the user says as it is"),
    ],
)
def test_a_chat_template_that_cannot_be_used(folder, template, said):
    loaded = with_chat(folder, template)  # which harms nobody who does not use it
    with pytest.raises(UserError, match=said):
        loaded.chat_prompt()


def test_without_a_chat_template(tokenizer):
    with pytest.raises(UserError, match="task.prompt is 'chat', and .* has no chat template"):
        tokenizer.chat_prompt()
