"""A model folder may be damaged or come from a stranger: it is refused with its name, and no code in it is run."""

import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.llm.load import load_text_model

torch.set_num_threads(1)
WRITTEN = {
    "config.json": [b"", b"null", b"[]", b"{", b"\xff",
    b'{"model_type": 7}', b'{"model_type": "nobody"}', b"[" * 50_000],
    "tokenizer.json": [b"", b"null", b"{}", b"\xff\xfe", b'{"version": "1.0", "model": {"type": "evil"}}'],
    "tokenizer_config.json": [b"null", b"{", b"7"],
    "model.safetensors": [b"", b"PK\x03\x04", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "],
    "forethought.json": [b"", b"null", b"[]", b'{"format": [], "format_version": 1}', b"[" * 50_000],
}  # fmt: skip


@pytest.fixture
def copied(stepping_llama, tmp_path):
    shutil.copytree(stepping_llama, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_damaged_file_of_a_model_is_a_value_error_that_names_the_folder(copied, stepping_llama, name):
    for written in WRITTEN[name]:
        (copied / name).write_bytes(written)
        with pytest.raises(ValueError, match=str(copied)):
            load_text_model(copied)
        shutil.copy(stepping_llama / name, copied / name)


@pytest.mark.parametrize("value", [None, "x", -1, [], {}, 1.5, True])
@pytest.mark.parametrize("setting", ["max_steps", "max_step_tokens", "delimiter", "ends", "yes"])
def test_a_setting_of_another_type_is_named(copied, setting, value):
    if (setting in ("delimiter", "yes") and value == "x") or (setting, value) in (("ends", []), ("max_steps", "")):
        pytest.skip("it has the right type")
    written = json.loads((copied / "forethought.json").read_text()) | {setting: value}
    (copied / "forethought.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=r"forethought\.json: .*"):
        load_text_model(copied)


def test_code_in_a_model_folder_is_not_run_unless_it_is_trusted(copied, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *text: asked.append(text) or "y")
    config = json.loads((copied / "config.json").read_text())
    names = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Model"}
    (copied / "config.json").write_text(json.dumps(config | {"model_type": "evil", "auto_map": names}))
    (copied / "evil.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(ValueError, match=str(copied)):
        load_text_model(copied)
    assert not asked and not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=str(copied)):  # the module lacks its classes, and is run
        load_text_model(copied, trust_remote_code=True)
    assert not asked and (tmp_path / "run").exists()


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_flipped_byte_loads_or_is_a_value_error(stepping_llama, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped") / "model"
    shutil.copytree(stepping_llama, folder)
    path = folder / data.draw(st.sampled_from(sorted(WRITTEN)), "file")
    written = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, min(len(written), 3000) - 1), "at")
    written[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(written)
    try:
        load_text_model(folder)
    except ValueError as error:
        assert str(folder) in str(error)
