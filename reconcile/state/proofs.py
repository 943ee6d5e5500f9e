"""When each model was last proven level, and by which definition; the causes of a later drift rest on it."""

from __future__ import annotations

from reconcile.definition.model import Definition
from reconcile.state.store import Proof, State

__all__ = ["Proof", "Proofs"]


class Proofs:
    """The proofs of one run: those that are known, and those that it adds."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known = state.proofs()
        self._new: dict[tuple[str, str], Proof] = {}

    def of(self, definition: Definition) -> Proof | None:
        names = ((definition.unique_id, relation) for relation in (definition.relation_name, ""))
        found = [self._known[name] for name in names if name in self._known]
        return max(found, key=lambda proof: proof.moment.at, default=None)

    def add(self, definition: Definition, proof: Proof) -> None:
        self._new[definition.unique_id, definition.relation_name] = proof

    def keep(self) -> None:
        """Keep what was added, and the builds that the project told of."""
        self._state.keep_proofs(self._new)
