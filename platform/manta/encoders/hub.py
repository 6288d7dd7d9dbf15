"""The Hugging Face hub, from which timm takes weights: reached, or said at once to be away."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from manta.errors import ConfigError

SECONDS = 5.0
"""Time in which the hub must answer. Its own client tries for a minute before it gives up."""


@contextlib.contextmanager
def hub_files(what: str, instead: str) -> Iterator[None]:
    """Run a block that takes files from the hub or its cache, and from the cache alone if it must.

    Args:
        what: is needed, such as "encoder.pretrained: the weights of 'resnet18'".
        instead: what the user can do without the hub.

    Raises:
        ConfigError: the files are neither in the cache nor to be had.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    was_offline = constants.HF_HUB_OFFLINE
    away = None if was_offline else _away(constants.ENDPOINT)
    reason = away or "HF_HUB_OFFLINE is set"
    # What is in the cache is used all the same, and what is not fails without retries.
    constants.HF_HUB_OFFLINE = was_offline or away is not None
    try:
        yield
    except GatedRepoError:
        raise ConfigError(f"{what} cannot be had: the hub asks for a login; {instead}") from None
    except RepositoryNotFoundError:
        raise ConfigError(f"{what} cannot be had: the hub has no such model; {instead}") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        place = constants.HF_HUB_CACHE
        raise ConfigError(
            f"{what} cannot be had: {reason}, and they are not in {place}; {instead}"
        ) from None
    except (HfHubHTTPError, urllib.error.URLError) as error:
        said = " ".join(str(error).split())[:120]
        raise ConfigError(f"{what} cannot be had ({said}); {instead}") from None
    finally:
        constants.HF_HUB_OFFLINE = was_offline


def read_config(repository: str) -> dict[str, Any]:
    """Return the `config.json` of a model on the hub.

    Args:
        repository: `owner/name`, with `@revision` where one is meant.

    Raises:
        ConfigError: it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    repo, _, revision = repository.partition("@")
    instead = "a copy in a folder works without the hub: encoder.name=local-dir:FOLDER"
    with hub_files(f"encoder.name: the files of 'hf-hub:{repository}'", instead):
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError

        try:
            path = hf_hub_download(repo, "config.json", revision=revision or None)
        except HFValidationError:
            raise ConfigError(
                f"encoder.name: 'hf-hub:{repository}' is no repository; write hf-hub:OWNER/NAME"
            ) from None
        except EntryNotFoundError as error:
            from huggingface_hub.errors import LocalEntryNotFoundError

            if isinstance(error, LocalEntryNotFoundError):
                raise
            raise ConfigError(
                f"encoder.name: 'hf-hub:{repository}' is no model of timm: it has no config.json"
            ) from None
    with open(path, encoding="utf-8") as file:
        return dict(json.load(file))


def _away(endpoint: str) -> str | None:
    """Return why the hub cannot be reached, or None if it answers, with whatever."""
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        # A certificate that Python does not know may be known to the hub's client.
        if "CERTIFICATE" in str(error).upper():
            return None
        return f"{endpoint} does not answer"
    return None
