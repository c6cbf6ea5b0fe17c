"""What ``rainpost audit`` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.audit import (
    CODE_ATTRIBUTES,
    PROVIDER_ATTRIBUTES,
    ProductOrigin,
    check_code,
    check_published,
    find_artefact,
    find_inputs,
    find_product,
    kept_uploads,
    recompute,
)
from service.commands import progress
from service.inference import Inference
from service.product_comparison import Comparison
from service.settings import Settings
from service.times import iso_time

DIFFERENT: Final = 3
"""Exit status where the product does not come out again."""


def audit(options: argparse.Namespace) -> int:
    """Recompute a product from its inputs and compare; 0 where it is the same, 3 where it is not."""
    settings = Settings.load()
    product = find_product(settings, options.product, options.revision)
    check_published(product)
    origin = ProductOrigin.read(product)
    if not options.any_code:
        check_code(origin)
    artefact = find_artefact(settings.models_folder, origin)
    with progress(f"looking for {len(origin.provenance.inputs)} inputs"):
        inputs = find_inputs(origin, [*options.files, *kept_uploads(settings)])
    with progress(f"loading {artefact.identity}"):
        inference = Inference(artefact, options.provider or origin.provider, settings.threads)
    ignored = CODE_ATTRIBUTES if options.any_code else frozenset()
    if options.provider:
        ignored |= PROVIDER_ATTRIBUTES
    with progress(f"recomputing {len(origin.leads_hours)} leads of {iso_time(origin.reference_time)}"):
        found = recompute(product, origin, inference, inputs, settings.data_folder / "weights", ignored)
    sys.stdout.write("".join(f"{line}\n" for line in report(product, origin, found)))
    return 0 if found.equal else DIFFERENT


def report(product: Path, origin: ProductOrigin, found: Comparison) -> Iterator[str]:
    """What was compared, and what differs, line by line."""
    made = origin.provenance
    yield f"{product}"
    yield f"  revision {made.revision} of {iso_time(origin.reference_time)}"
    yield f"  {origin.model}, {len(made.inputs)} inputs, rainpost {made.code_version}, {made.provider}"
    if found.equal:
        yield f"equal: {'every byte' if found.same_file else 'every value and attribute, bit for bit'}"
        return
    yield "different:"
    yield from (f"  {line}" for line in found.structure)
    if found.differences:
        width = max(len(one.variable) for one in found.differences)
        yield f"  {'variable':<{width}}  lead  values  largest difference"
        for one in found.differences:
            lead = "-" if one.lead_hours is None else one.lead_hours
            yield f"  {one.variable:<{width}}  {lead:>4}  {one.values:>6}  {one.largest:.3g}"
