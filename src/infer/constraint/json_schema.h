#pragma once

#include "base/json_fwd.h"
#include "infer/constraint/grammar.h"

namespace fledge::infer {

/// The JSON texts that a schema (JSON Schema, draft 2020-12, and the older words `definitions` and `nullable`) accepts.
/// Some valid texts are left out, never an invalid one let in:
///  - properties come in the schema's order, optional ones may be left out; required names that `properties` lacks come
///    last; other names are made only where `additionalProperties` says so, or where there are no `properties` at all,
///    and have no escapes;
///  - white space as JsonText has it; a const or enum value is written without any;
///  - bounds of a number must be whole numbers; such numbers have no exponent;
///  - a schema without `type` whose other keywords are about one type is taken to be of it.
/// Annotations (title, description, default, examples, ...) are ignored. Everything else that is not supported is
/// refused with base::UsageError in one sentence: patternProperties, propertyNames, minProperties, maxProperties,
/// dependent*, if/then/else, not, contains, uniqueItems, multipleOf, unknown formats, pattern or format beside lengths,
/// $ref to other documents, allOf whose parts cannot be merged.
Grammar compile_json_schema(const base::OrderedJson& schema);

/// Any JSON object.
Grammar json_object_grammar();

/// One schema that asks for what both ask for. Throws base::UsageError where that cannot be written.
base::OrderedJson merge_schemas(const base::OrderedJson& first, const base::OrderedJson& second);

/// Whether the keyword says nothing about which texts are valid.
bool is_annotation(std::string_view keyword);

}  // namespace fledge::infer
