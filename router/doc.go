// Package router says which events go where, and what of them: it compiles the event patterns of EventBridge rules,
// Lambda event filters and SNS filter policies, and matches JSON documents against them; and it compiles and applies
// the input paths and input transformers of targets. It is pure: no I/O, no goroutines, no clock.
//
// # The pattern language
//
// A pattern is a JSON object that has the structure of the events it matches. Its leaves are lists.
//
//   - A document matches if each field of the pattern holds: if one of the values at the field's path satisfies
//     one of the operators in the field's list. What the pattern does not name does not matter.
//   - A path is the names down to the field, joined by dots, in patterns and in documents alike: {"a.b":{"c":…}} and
//     {"a":{"b":{"c":…}}} are the same path. A path that a pattern names twice has the operators of the last.
//   - The values at a path are scalars: strings, numbers, true, false and null. The elements of an array are at
//     the path of the array, at any depth; an object is no value. Of members of the same name all count.
//   - Values of a rule's fields must be consistent: no two of them from different elements of one array. The
//     elements of an array of scalars do not bind: they are alternatives.
//   - "$or" with a list of at least two objects, none of whose fields has an operator's name, is an alternative of its
//     objects, together with the fields beside it. Any other "$or" is a field.
//
// The operators:
//
//   - A string, as it is. One that is an IP address is satisfied by all spellings of the address.
//   - A number, by its value, where both it and the document's are numbers that a float64 tells from their
//     neighbours in decimal; else by its text.
//   - true, false and null.
//   - {"prefix": s} and {"suffix": s}: strings that begin with, or end in, s, which may be empty. With
//     {"equals-ignore-case": s} for s, in any case.
//   - {"equals-ignore-case": s}: the string in any case, character by character.
//   - {"wildcard": s}: the whole string, where "*" is any text, the empty one included. "\*" and "\\" are an
//     asterisk and a backslash; "**" is refused, and so are wildcards that together are too complex.
//   - {"numeric": [op, n]} with op one of =, <, <=, >, >=, or [op, n, op, n] with a lower bound and an upper one
//     that is greater. Strings and null are no numbers.
//   - {"cidr": "10.0.0.0/24"}: strings that are an address in the block, of IPv4 or IPv6.
//   - {"exists": true}: any value. {"exists": false}: no value at the path; in arrays, none in the elements
//     that the fields whose paths sort before it have chosen.
//   - {"anything-but": x}, with a string, a number, or a list of strings or of numbers: any value that is none of
//     them, of any type; but a value there must be.
//   - {"anything-but": {"prefix": x}}, and with suffix, equals-ignore-case and wildcard, of a string or a list: any
//     value that is no string which satisfies the inner operator with one of them.
//
// The dialects differ in what they take and in how they refuse: see [Dialect]. Source:
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html and the pages below it,
// https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html, recordings of AWS, and for what
// these leave open Event Ruler, the matcher that AWS publishes (https://github.com/aws/event-ruler).
package router
