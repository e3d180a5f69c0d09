"""The Hugging Face hub: which repositories' files are neither on this machine nor to be downloaded, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def unobtainable(repositories: Iterable[str], files: Sequence[str]) -> dict[str, str]:
    """Those of which no file can be had, each with the reason.

    Looks at the hub's cache, and asks the hub for the first of the files, for at most five seconds.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    found: dict[str, str] = {}
    silent = "this machine is told to stay offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    for repository in dict.fromkeys(repositories):
        if any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
            continue
        if silent:
            found[repository] = silent
            continue
        try:
            get_hf_file_metadata(hf_hub_url(repository, files[0]), timeout=5)
        except GatedRepoError:
            place = f"{constants.ENDPOINT}/{repository}"
            found[repository] = f"its licence is to be accepted at {place}, then `hf auth login`"
        except HfHubHTTPError as error:
            found[repository] = f"the hub answers {error.response.status_code}"
        except Exception as error:
            silent = found[repository] = f"the hub cannot be reached ({type(error).__name__})"
    return found
