"""OpenTelemetry traces of runs: a span a run, one a part of it. Set up by its own variables, or not at all.

Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or its form for traces) nothing is imported but the API, whose spans are free.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from extract import VERSION

log = logging.getLogger("orchestrate")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextmanager
def traced() -> Iterator[None]:
    """Export the spans of what runs inside, where the standard variables say to; they are sent by its end.

    An endpoint that does not answer costs the traces, not the run.
    """
    if (
        not any(os.environ.get(name) for name in _ENDPOINTS)
        or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    ):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need an extra: uv sync --extra otel")
        yield
        return
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "levelset"}
    provider = TracerProvider(resource=Resource.create({**named, "service.version": VERSION}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[trace.Span]:
    """A span around what runs inside; an exception is recorded in it, and goes on."""
    with trace.get_tracer("levelset", VERSION).start_as_current_span(name, attributes=attributes) as found:
        yield found
