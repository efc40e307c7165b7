"""A `SearchQuery` as SQL on the store's tables: which page, how many, and what is included with it.

FHIR R4 §3.1.1.4 says when a value matches. Conditions on the searched resource become semi-joins on the value
tables; sort keys are the least or greatest value of a resource, and a page starts after the sort keys of the last
resource of the page before (keyset), so that what is written meanwhile shifts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    MetaData,
    ScalarSelect,
    Select,
    and_,
    false,
    func,
    or_,
    select,
    true,
    union,
)

from fhir.search.literals import (
    DateLiteral,
    Literals,
    QuantityLiteral,
    ReferenceLiteral,
    StringLiteral,
    TokenLiteral,
    UriLiteral,
)
from fhir.search.query import Condition, SearchQuery
from fhir.search.result_parameters import SortKey

MAX_INCLUDED: Final = 2000
"""Resources that one page may bring along by `_include` and `_revinclude` together."""

_TABLE_OF_KIND: Final = {
    "token": "fhir_token",
    "reference": "fhir_reference",
    "date": "fhir_date",
    "string": "fhir_string",
    "number": "fhir_quantity",
    "quantity": "fhir_quantity",
    "uri": "fhir_uri",
}
_SORT_COLUMNS: Final = {
    "token": ("code", "code"),
    "date": ("low", "high"),
    "string": ("normalized", "normalized"),
    "number": ("low", "high"),
    "quantity": ("low", "high"),
}
Clause = ColumnElement[bool]


class SearchSql:
    """Builds the statements of a search on the tables of one store."""

    def __init__(self, metadata: MetaData) -> None:
        self._tables = {table.name: table for table in metadata.sorted_tables}
        self._resource = self._tables["fhir_resource"]

    def page(self, query: SearchQuery, after: Sequence[Any] | None, limit: int) -> Select[Any]:
        """Rows `pk, id, version, last_updated, body, key0, key1, …` in order, after the row with the keys `after`.

        `after` holds one value for each sort key (None for a missing one) and then the pk.
        """
        r = self._resource.alias("r")
        keys = [self._sort_value(r, query.resource_type, key).label(f"key{n}") for n, key in enumerate(query.sort)]
        found = select(r.c.pk, *keys).where(*self._where(query, r)).cte("found")
        page = select(found)
        if after is not None:
            page = page.where(_beyond(found, query.sort, after))
        chosen = page.order_by(*_order(found, query.sort)).limit(limit).cte("page")
        body = self._resource.alias("b")
        return (
            select(chosen.c.pk, body.c.id, body.c.version, body.c.last_updated, body.c.body)
            .add_columns(*(chosen.c[f"key{n}"] for n in range(len(query.sort))))
            .join_from(chosen, body, body.c.pk == chosen.c.pk)
            .order_by(*_order(chosen, query.sort))
        )

    def total(self, query: SearchQuery) -> Select[Any]:
        """The number of resources that match, pages aside."""
        r = self._resource.alias("r")
        return select(func.count()).select_from(r).where(*self._where(query, r))

    def included(self, query: SearchQuery, pks: Sequence[int], ids: Sequence[str]) -> Select[Any] | None:
        """Rows `resource_type, id, version, last_updated, body` that the matches bring along, themselves left out."""
        reference = self._tables["fhir_reference"]
        parts: list[Select[Any]] = []
        for include in query.includes:
            target = self._resource.alias()
            v = reference.alias()
            wanted = and_(target.c.resource_type == v.c.target_type, target.c.id == v.c.target_id, ~target.c.deleted)
            part = select(target.c.pk).join_from(v, target, wanted).where(v.c.pk.in_(pks), v.c.param == include.code)
            if include.target_type is not None:
                part = part.where(v.c.target_type == include.target_type)
            parts.append(part)
        for include in query.revincludes:
            v = reference.alias()
            parts.append(
                select(v.c.pk).where(
                    v.c.resource_type == include.source_type,
                    v.c.param == include.code,
                    v.c.target_type == query.resource_type,
                    v.c.target_id.in_(ids),
                )
            )
        if not parts:
            return None
        r = self._resource
        return (
            select(r.c.resource_type, r.c.id, r.c.version, r.c.last_updated, r.c.body)
            .where(r.c.pk.in_(union(*parts).scalar_subquery()), r.c.pk.not_in(pks), ~r.c.deleted)
            .order_by(r.c.pk)
            .limit(MAX_INCLUDED + 1)
        )

    def _where(self, query: SearchQuery, r: FromClause) -> list[Clause]:
        conditions = [self._holds(r, query.resource_type, condition) for condition in query.conditions]
        return [r.c.resource_type == query.resource_type, ~r.c.deleted, *conditions]

    def _holds(self, r: FromClause, resource_type: str, condition: Condition) -> Clause:
        if condition.chained:
            return self._chain_holds(r, resource_type, condition)
        if condition.code == "_id":
            ids = [literal.code for literal in condition.values if isinstance(literal, TokenLiteral)]
            return r.c.id.not_in(ids) if condition.modifier == "not" else r.c.id.in_(ids)
        if condition.code == "_lastUpdated":
            moments = [literal for literal in condition.values if isinstance(literal, DateLiteral)]
            return or_(*(_moment_holds(r.c.last_updated, literal) for literal in moments))
        v = self._tables[_TABLE_OF_KIND[condition.kind]].alias()
        own = and_(v.c.resource_type == resource_type, v.c.param == condition.code)
        if condition.missing is not None:
            present = select(true()).select_from(v).where(own, v.c.pk == r.c.pk).exists()
            return ~present if condition.missing else present
        match = or_(*(_matches(v, condition, literal) for literal in condition.values))
        if condition.modifier == "not":
            return ~select(true()).select_from(v).where(own, v.c.pk == r.c.pk, match).exists()
        return r.c.pk.in_(select(v.c.pk).where(own, match).scalar_subquery())

    def _chain_holds(self, r: FromClause, resource_type: str, condition: Condition) -> Clause:
        choices: list[Clause] = []
        for target_type, inner in condition.chained:
            v = self._tables["fhir_reference"].alias()
            target = self._resource.alias()
            pointed_to = and_(target.c.resource_type == target_type, target.c.id == v.c.target_id, ~target.c.deleted)
            pks = (
                select(v.c.pk)
                .join_from(v, target, pointed_to)
                .where(
                    v.c.resource_type == resource_type,
                    v.c.param == condition.code,
                    v.c.target_type == target_type,
                    self._holds(target, target_type, inner),
                )
            )
            choices.append(r.c.pk.in_(pks.scalar_subquery()))
        return or_(*choices)

    def _sort_value(self, r: FromClause, resource_type: str, key: SortKey) -> ColumnElement[Any] | ScalarSelect[Any]:
        if key.code == "_id":
            return r.c.id
        if key.code == "_lastUpdated":
            return r.c.last_updated
        v = self._tables[_TABLE_OF_KIND[key.kind]].alias()
        low, high = _SORT_COLUMNS[key.kind]
        value = func.max(v.c[high]) if key.descending else func.min(v.c[low])
        own = and_(v.c.pk == r.c.pk, v.c.resource_type == resource_type, v.c.param == key.code)
        return select(value).where(own).scalar_subquery()


def _order(rows: CTE, sort: Sequence[SortKey]) -> list[ColumnElement[Any]]:
    columns = [(rows.c[f"key{n}"], key.descending) for n, key in enumerate(sort)]
    ordered = [(column.desc() if descending else column.asc()).nulls_last() for column, descending in columns]
    return [*ordered, rows.c.pk.asc()]


def _beyond(rows: CTE, sort: Sequence[SortKey], after: Sequence[Any]) -> Clause:
    """Rows that come after the given keys in the order of `_order`."""
    choices: list[Clause] = []
    equal: list[Clause] = []
    for n, key in enumerate(sort):
        column, value = rows.c[f"key{n}"], after[n]
        if value is not None:
            further = column < value if key.descending else column > value
            choices.append(and_(*equal, or_(further, column.is_(None))))
        equal.append(column.is_(None) if value is None else column == value)
    choices.append(and_(*equal, rows.c.pk > after[-1]))
    return or_(*choices)


def _matches(v: FromClause, condition: Condition, literal: Literals) -> Clause:
    """Whether the row of a value table is the value asked for."""
    if condition.modifier == "identifier" and isinstance(literal, TokenLiteral):
        return _token_matches(v.c.identifier_system, v.c.identifier_value, literal)
    if condition.modifier == "text" and isinstance(literal, StringLiteral):
        return v.c.text.startswith(literal.normalized, autoescape=True)
    match literal:
        case TokenLiteral():
            return _token_matches(v.c.system, v.c.code, literal)
        case ReferenceLiteral():
            return _reference_matches(v, literal, condition.targets)
        case DateLiteral():
            return _span_holds(v.c.low, v.c.high, literal)
        case QuantityLiteral():
            return _quantity_matches(v, literal)
        case StringLiteral():
            return _string_matches(v, condition.modifier, literal)
        case UriLiteral():
            return _uri_matches(v, condition.modifier, literal)


def _token_matches(system: ColumnElement[str], code: ColumnElement[str], literal: TokenLiteral) -> Clause:
    # §3.1.1.4.10: when in doubt whether a code system minds case, it is not minded; codes are stored casefolded.
    found: list[Clause] = []
    if literal.code is not None:
        found.append(code == literal.code.casefold())
    if literal.system is not None:
        found.append(system == literal.system)
    return and_(*found)


def _reference_matches(v: FromClause, literal: ReferenceLiteral, targets: tuple[str, ...]) -> Clause:
    if literal.url is not None:
        return v.c.url == literal.url
    found = [v.c.target_id == literal.id]
    if literal.type is not None:
        found.append(v.c.target_type == literal.type)
    if targets:
        found.append(v.c.target_type.in_(targets))
    return and_(*found)


def _string_matches(v: FromClause, modifier: str, literal: StringLiteral) -> Clause:
    if modifier == "exact":
        return and_(v.c.value == literal.value, v.c.normalized == literal.normalized)
    if modifier == "contains":
        return v.c.normalized.contains(literal.normalized, autoescape=True)
    return v.c.normalized.startswith(literal.normalized, autoescape=True)


def _uri_matches(v: FromClause, modifier: str, literal: UriLiteral) -> Clause:
    if modifier != "below":
        return v.c.value == literal.value
    # §3.1.1.4.14: below a URL, by its segments.
    branch = literal.value.rstrip("/") + "/"
    return or_(v.c.value == literal.value, v.c.value.startswith(branch, autoescape=True))


def _quantity_matches(v: FromClause, literal: QuantityLiteral) -> Clause:
    found = [_number_holds(v.c.low, v.c.high, literal)]
    if literal.system is not None:
        found.append(v.c.system == literal.system)
    if literal.code is not None:
        # §3.1.1.4.11: without a system, the code or the unit as displayed.
        by_code = v.c.code == literal.code
        found.append(by_code if literal.system is not None else or_(by_code, v.c.unit == literal.code))
    return and_(*found)


def _number_holds(low: ColumnElement[Any], high: ColumnElement[Any], literal: QuantityLiteral) -> Clause:
    """§3.1.1.4.6: equality goes by the digits given, a comparison takes the number as exact; both ends belong to it."""
    within = and_(low >= literal.low, high < literal.high)
    exact = literal.exact
    match literal.prefix:
        case "eq":
            return within
        case "ne":
            return ~within
        case "gt":
            return high > exact
        case "lt":
            return low < exact
        case "ge":
            return high >= exact
        case "le":
            return low <= exact
        case "sa":
            return low > exact
        case "eb":
            return high < exact
    return false()


def _span_holds(low: ColumnElement[Any], high: ColumnElement[Any], literal: DateLiteral) -> Clause:
    """§3.1.1.4.1: the resource's value spans [low, high), the search value [from, to)."""
    from_, to = literal.low, literal.high
    within = and_(low >= from_, high <= to)
    match literal.prefix:
        case "eq":
            return within
        case "ne":
            return ~within
        case "gt":
            return high > to
        case "lt":
            return low < from_
        case "ge":
            return or_(high > to, within)
        case "le":
            return or_(low < from_, within)
        case "sa":
            return low >= to
        case "eb":
            return high <= from_
    return false()


def _moment_holds(moment: ColumnElement[Any], literal: DateLiteral) -> Clause:
    """The same for an instant, which has no width."""
    low, high = literal.low, literal.high
    match literal.prefix:
        case "eq":
            return and_(moment >= low, moment < high)
        case "ne":
            return or_(moment < low, moment >= high)
        case "gt" | "sa":
            return moment >= high
        case "lt" | "eb":
            return moment < low
        case "ge":
            return moment >= low
        case "le":
            return moment < high
    return false()
