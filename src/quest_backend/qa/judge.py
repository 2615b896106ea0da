"""Which profile judges a recording: its study's, its own, or the usual one."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quest_backend.qa.report import SessionQA
from quest_backend.qa.verdict import Profile, VerdictReport, choose, decide

# Where a capture session's metadata may name a profile, or a study with a profile of its name.
_FIELDS = ("qaProfile", "study", "studyId", "study_id")
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Judge:
    """The profiles in use. ``rules`` changes with anything that could change a verdict."""

    profiles: Mapping[str, Profile]
    default: str
    rules: str

    @classmethod
    def of(cls, profiles: Mapping[str, Profile], default: str) -> "Judge":
        """``default`` is the name of one of ``profiles``."""
        plain = {name: {measure: asdict(bounds) for measure, bounds in profile.thresholds.items()}
                 for name, profile in profiles.items()}  # fmt: skip
        written = json.dumps([default, plain], sort_keys=True).encode()
        return cls(profiles, default, hashlib.sha256(written).hexdigest()[:16])

    def decide(self, session: SessionQA, wanted: Iterable[str] = ()) -> VerdictReport:
        """The verdict; ``wanted`` are ``wanted_profiles`` of its capture session."""
        own = session["extended"]["qaProfile"]
        return decide(session, choose(self.profiles, self.default, *wanted, own))


def wanted_profiles(metadata: Mapping[str, Any]) -> list[str]:
    """Names in a capture session's metadata that may be those of profiles."""
    found = [metadata.get(field) for field in _FIELDS]
    return [name for name in found if isinstance(name, str) and 0 < len(name) <= _MAX_NAME]
