"""One stored thing is looked at to the last bit: also the words of its manifest that nobody reads."""

from __future__ import annotations

from personamem_pipeline.passports.chain import Thing
from personamem_pipeline.passports.examine import examine
from personamem_pipeline.seeds import rng
from personamem_pipeline.store import MANIFEST
from tests.passports.chains import Chain


def test_a_changed_bit_in_any_byte_of_a_manifest_is_found(chain: Chain) -> None:
    path, thing = chain.directory("base_model") / MANIFEST, Thing("base_model", chain.versions["base_model"])
    whole = path.read_bytes()
    assert [link.status for link in examine(thing, path.parent).links] == ["ok"]
    draw = rng(0, "a bit of every byte")
    for place, byte in enumerate(whole):
        # A blank also as each other one, which a JSON parser reads as the same, and a text file's reader, too.
        for other in {byte ^ 1 << draw.randrange(8), *(b"\n\r\t " if chr(byte).isspace() else b"")} - {byte}:
            path.write_bytes(whole[:place] + bytes([other]) + whole[place + 1 :])
            assert any(link.status == "BROKEN" for link in examine(thing, path.parent).links), (place, other)
