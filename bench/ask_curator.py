"""Bespoke Curator on the same requests as bench/ask.py, run by the Python of an environment of its own.

    python bench/ask_curator.py URL REQUESTS CONCURRENCY

Prints the seconds its run took, without the imports.
"""

import os
import sys
import tempfile
import time

os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
os.environ["OPENAI_API_KEY"] = "none"
os.environ["CURATOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="curator-")

import tiktoken


class Bytes:
    """A tokenizer that costs nothing: Curator fetches its own from the network, which a bench may not have."""

    def encode(self, text: str, **options: object) -> bytes:
        """A byte a token."""
        return text.encode()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Bytes()

from bespokelabs import curator  # noqa: E402


def main() -> None:
    url, count, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    prompts = [f"Document: abcd1234\n\ndef f_{number}(x):\n    return x + {number}\n" * 4 for number in range(count)]
    model = curator.LLM(
        model_name="bench",
        backend="openai",
        backend_params={
            "base_url": url,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_concurrent_requests": concurrency,
        },
        generation_params={"temperature": 0.0, "max_tokens": 300},
    )
    started = time.perf_counter()
    replies = model(prompts)
    seconds = time.perf_counter() - started
    rows = getattr(replies, "dataset", replies)
    assert len(rows) == count, f"{len(rows)} of {count} answered"
    print(seconds)


if __name__ == "__main__":
    main()
