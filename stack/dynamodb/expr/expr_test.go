package expr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
)

func item(t testing.TB, text string) attr.Item {
	t.Helper()
	if text == "" {
		return nil
	}
	i, err := attr.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if p := i.Problem(); p != "" {
		t.Fatalf("%s: %s", text, p)
	}
	return i
}

func scope(t testing.TB, names map[string]string, values string) *expr.Scope {
	t.Helper()
	s, err := expr.NewScope(names, item(t, values))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const values = `{":s":{"S":"hello"},":e":{"S":"ell"},":he":{"S":"he"},":n":{"N":"5"},":m":{"N":"9"},":x":{"N":"7"},":l":{"L":[{"N":"1"}]},
	":t":{"S":"SS"},":dog":{"S":"DOG"},":ss":{"SS":["b","a"]},":b":{"B":"aGk="},":map":{"M":{}},":true":{"BOOL":true},":null":{"NULL":true},
	":ns":{"NS":["2","1"]},":bad":{"S":"z"}}`

var names = map[string]string{"#a": "a.b", "#n": "n", "#name": "name"}

const doc = `{"s":{"S":"hello"},"n":{"N":"5.0"},"ss":{"SS":["a","b"]},"ns":{"NS":["1","2"]},"l":{"L":[{"N":"1"},{"M":{"k":{"S":"v"}}}]},
	"m":{"M":{"k":{"N":"7"},"z":{"M":{"deep":{"B":"aGk="}}}}},"a.b":{"S":"dotted"},"name":{"S":"reserved"},"yes":{"BOOL":true},"nil":{"NULL":true},
	"b":{"B":"aGk="},"smile":{"S":"😀"}}`

func TestConditions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"n = :n":                            true,
		"n <> :n":                           false,
		"n <> :s":                           true,
		"n < :m":                            true,
		"n >= :n":                           true,
		"n > :n":                            false,
		"n <= :n AND s = :s":                true,
		"n < :s":                            false,
		":m > n":                            true,
		"absent = :n":                       false,
		"absent <> :n":                      true,
		"absent = gone":                     false,
		"absent <> gone":                    true,
		"absent < :n":                       false,
		"ss = :ss":                          true,
		"ns = :ns":                          true,
		"n BETWEEN :n AND :m":               true,
		"n between m.k and :m":              false,
		"m.k between n and :m":              true,
		"n IN (:s, :n)":                     true,
		"n in (:m)":                         false,
		"absent IN (:n)":                    false,
		"attribute_exists(m.z.deep)":        true,
		"attribute_exists (l[1].k)":         true,
		"attribute_exists(l[2])":            false,
		"attribute_exists(s[0])":            false,
		"attribute_exists(l.k)":             false,
		"attribute_not_exists(absent)":      true,
		"attribute_not_exists(m.z.deep.er)": true,
		"attribute_type(ss, :t)":            true,
		"attribute_type(s, :t)":             false,
		"attribute_type(absent, :t)":        false,
		"begins_with(s, :he)":               true,
		"begins_with(s, :e)":                false,
		"begins_with(:s, s)":                true,
		"begins_with(n, :s)":                false,
		"contains(s, :e)":                   true,
		"contains(ss, :s)":                  false,
		"contains(ns, n)":                   false,
		"contains(l, :n)":                   false,
		"contains(b, :b)":                   true,
		"contains(n, :n)":                   false,
		"size(s) = :n":                      true,
		"size(smile) < :n":                  true,
		"size(n) = :n":                      false,
		"size(absent) = :n":                 false,
		"size(m) < size(l)":                 false,
		"size(b) <= size(m)":                true,
		"NOT n = :n":                        false,
		"NOT NOT n = :n":                    true,
		"n = :m OR s = :s AND n = :n":       true,
		"(n = :m OR s = :s) AND n = :m":     false,
		"n = :n OR n = :m AND n = :x":       true,
		"NOT (n = :m) AND (s = :s)":         true,
		"(n) = (:n)":                        true,
		"#a = :bad OR #n = :n":              true,
		"yes = :true AND nil = :null":       true,
		"m.z.deep = :b":                     true,
		"(m).k = :x":                        true,
		"attribute_exists(#a)":              true,
		"m.#n = :n OR m.k = :x":             true,
		"\tn\n=\r:n ":                       true,
		"#name = :s":                        false,
	} {
		c, err := expr.ParseCondition("ConditionExpression", text, scope(t, names, values))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Match(item(t, doc)); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestConditionsOfNoItem(t *testing.T) {
	t.Parallel()
	c, err := expr.ParseCondition("ConditionExpression", "attribute_not_exists(id) AND NOT id = :n", scope(t, nil, values))
	if err != nil || !c.Match(nil) {
		t.Errorf("%v", err)
	}
}

// refused wants a parser to refuse with a message after a prefix.
func refused(t *testing.T, prefix string, cases map[string]string, parse func(text string, s *expr.Scope) error) {
	t.Helper()
	for text, want := range cases {
		err := parse(text, scope(t, names, values))
		var e *expr.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: not refused: %v", text, err)
			continue
		}
		if e.Message != prefix+want {
			t.Errorf("%s:\n got %s\nwant %s", text, e.Message, prefix+want)
		}
	}
}

func TestRefusedConditions(t *testing.T) {
	t.Parallel()
	refused(t, "Invalid ConditionExpression: ", map[string]string{
		"":                                 "The expression can not be empty;",
		"a":                                `Syntax error; token: "<EOF>", near: "a"`,
		"a b":                              `Syntax error; token: "b", near: "a b"`,
		"a = :n b":                         `Syntax error; token: "b", near: ":n b"`,
		"a ==  :n":                         `Syntax error; token: "=", near: "==  :n"`,
		"a IN ()":                          `Syntax error; token: ")", near: "()"`,
		"a = 5":                            `Syntax error; token: "5", near: "= 5"`,
		"a = _b":                           `Syntax error; token: "_", near: "= _b"`,
		"a[:n] = :n":                       `Syntax error; token: ":n", near: "[:n]"`,
		"a[01] = :n":                       `Syntax error; token: "1", near: "01]"`,
		"a é :n":                           `Syntax error; token: "é", near: "a é :n"`,
		"(a = :n":                          `Syntax error; token: "<EOF>", near: ":n"`,
		"a BETWEEN :n OR :m":               `Syntax error; token: "OR", near: ":n OR :m"`,
		"set = :n":                         `Syntax error; token: "set", near: "set ="`,
		"((a = :n))":                       "The expression has redundant parentheses;",
		"((a)) = :n":                       "The expression has redundant parentheses;",
		"name = :n":                        "Attribute name is a reserved keyword; reserved keyword: name",
		"a.Status = :n":                    "Attribute name is a reserved keyword; reserved keyword: Status",
		"f(a)":                             "Invalid function name; function: f",
		"ATTRIBUTE_EXISTS(a)":              "Invalid function name; function: ATTRIBUTE_EXISTS",
		"if_not_exists(a, :n)":             "The function is not allowed in a condition expression; function: if_not_exists",
		"size(a)":                          "The function is not allowed to be used this way in an expression; function: size",
		"attribute_exists(a) = :n":         "The function is not allowed to be used this way in an expression; function: attribute_exists",
		"contains(a)":                      "Incorrect number of operands for operator or function; operator or function: contains, number of operands: 1",
		"attribute_exists(:n)":             "Operator or function requires a document path; operator or function: attribute_exists",
		"a = :unknown":                     "An expression attribute value used in expression is not defined; attribute value: :unknown",
		"#unknown = :n":                    "An expression attribute name used in the document path is not defined; attribute name: #unknown",
		"a < :l":                           "Incorrect operand type for operator or function; operator or function: <, operand type: L",
		"a BETWEEN :ss AND :ss":            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: SS",
		"a BETWEEN :s AND :n":              "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {S:hello}, upper bound operand: AttributeValue: {N:5}",
		"a BETWEEN :m AND :n":              "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:9}, upper bound operand: AttributeValue: {N:5}",
		"begins_with(a, :n)":               "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
		"attribute_type(a, b)":             "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}",
		"attribute_type(a, :n)":            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N",
		"attribute_type(a, :dog)":          "Invalid attribute type name found; type: DOG, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
		"size(:n) = :n":                    "Incorrect operand type for operator or function; operator or function: size, operand type: N",
		"a = a":                            "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
		"contains(a.b[1], a.b[1])":         "The first operand must be distinct from the remaining operands for this operator or function; operator: contains, first operand: [a, b, [1]]",
		"a[99999999999] = :n":              "List index is not within the allowable range; index: [99999999999]",
		"a = :" + strings.Repeat("n", 5e3): "Expression size has exceeded the maximum allowed size; expression size: 5005",
		"a IN (:n" + strings.Repeat(",:n", 100) + ")": "The IN operator is provided with too many operands; number of operands: 101",
		"a" + strings.Repeat(".a", 32) + " = :n":      "The document path has too many nesting levels; nesting levels: 33",
		"a = :n" + strings.Repeat(" AND b = :n", 150): "The expression contains too many operators; operator count: 301",
	}, func(text string, s *expr.Scope) error {
		_, err := expr.ParseCondition("ConditionExpression", text, s)
		return err
	})
}

func TestKeyConditions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a = :s":                          "a EQ S:hello",
		":s = a AND :n < #n":              "a EQ S:hello; n GT N:5",
		"a = :s AND b BETWEEN :n AND :m":  "a EQ S:hello; b BETWEEN N:5 N:9",
		"(begins_with(b, :s)) AND a = :n": "b BEGINS_WITH S:hello; a EQ N:5",
	} {
		list, err := expr.ParseKeyCondition(text, scope(t, names, values))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, c := range list {
			s := c.Attribute + " " + string(c.Operator)
			for _, v := range c.Values {
				s += " " + v.Type().String() + ":" + v.Text()
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s is %s", text, s)
		}
	}
	refused(t, "", map[string]string{
		"a = :s OR b = :n":        "Invalid operator used in KeyConditionExpression: OR",
		"NOT a = :s":              "Invalid operator used in KeyConditionExpression: NOT",
		"a <> :s":                 "Invalid operator used in KeyConditionExpression: <>",
		"a IN (:s)":               "Invalid operator used in KeyConditionExpression: IN",
		"contains(a, :s)":         "Invalid operator used in KeyConditionExpression: contains",
		"size(a) = :n":            "KeyConditionExpressions cannot contain nested operations",
		"a.b = :n":                "KeyConditionExpressions cannot have conditions on nested attributes",
		"a = b":                   "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition",
		":n = :m":                 "Invalid condition in KeyConditionExpression: No key attribute specified",
		":n BETWEEN a AND b":      "Invalid condition in KeyConditionExpression: BETWEEN operator must have the key attribute as its first operand",
		"begins_with(:s, a)":      "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its first operand",
		"a = :n AND a > :n":       "KeyConditionExpressions must only contain one condition per key",
		"a = :n AND":              `Invalid KeyConditionExpression: Syntax error; token: "<EOF>", near: "AND"`,
		"a = :n AND b = :unknown": "Invalid KeyConditionExpression: An expression attribute value used in expression is not defined; attribute value: :unknown",
	}, func(text string, s *expr.Scope) error {
		_, err := expr.ParseKeyCondition(text, s)
		return err
	})
}

func TestProjections(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"s":                    `{"s":{"S":"hello"}}`,
		"s, n":                 `{"n":{"N":"5"},"s":{"S":"hello"}}`,
		"#a, absent":           `{"a.b":{"S":"dotted"}}`,
		"m.k":                  `{"m":{"M":{"k":{"N":"7"}}}}`,
		"m.z.deep, m.k":        `{"m":{"M":{"k":{"N":"7"},"z":{"M":{"deep":{"B":"aGk="}}}}}}`,
		"l[1], l[0]":           `{"l":{"L":[{"N":"1"},{"M":{"k":{"S":"v"}}}]}}`,
		"l[1].k":               `{"l":{"L":[{"M":{"k":{"S":"v"}}}]}}`,
		"l[7], m.absent, s[0]": `{}`,
	} {
		p, err := expr.ParseProjection(text, scope(t, names, values))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(p.Apply(item(t, doc)).AppendJSON(nil)); got != want {
			t.Errorf("%s is %s", text, got)
		}
	}
	refused(t, "Invalid ProjectionExpression: ", map[string]string{
		"a,":       `Syntax error; token: "<EOF>", near: ","`,
		"a, :n":    `Syntax error; token: ":n", near: ", :n"`,
		"size":     "Attribute name is a reserved keyword; reserved keyword: size",
		"a, a":     "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]",
		"a.b, a":   "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a]",
		"a.b,a[1]": "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
		"#b":       "An expression attribute name used in the document path is not defined; attribute name: #b",
	}, func(text string, s *expr.Scope) error {
		_, err := expr.ParseProjection(text, s)
		return err
	})
}

func TestUpdates(t *testing.T) {
	t.Parallel()
	const before = `{"a":{"N":"3"},"l":{"L":[{"N":"0"},{"N":"1"},{"N":"2"},{"N":"3"},{"N":"4"},{"N":"5"}]},"m":{"M":{"k":{"N":"1"},"l":{"L":[{"S":"x"}]}}},
		"ss":{"SS":["a","c"]},"s":{"S":"old"}}`
	for text, want := range map[string]string{
		"SET b = :n":                                    `b={"N":"5"}`,
		"sEt #a = :n":                                   `a.b={"N":"5"}`,
		"SET a = a + :n":                                `a={"N":"8"}`,
		"SET a = :n - a":                                `a={"N":"2"}`,
		"SET a = (a + :n)":                              `a={"N":"8"}`,
		"SET a = (a) + (:n)":                            `a={"N":"8"}`,
		"SET b = if_not_exists(b, :n) + :m":             `b={"N":"14"}`,
		"SET a = if_not_exists(a, :n)":                  `a={"N":"3"}`,
		"SET b = if_not_exists(c, a)":                   `b={"N":"3"}`,
		"SET l = list_append(l, :l)":                    `l={"L":[{"N":"0"},{"N":"1"},{"N":"2"},{"N":"3"},{"N":"4"},{"N":"5"},{"N":"1"}]}`,
		"SET b = list_append(if_not_exists(b, :l), :l)": `b={"L":[{"N":"1"},{"N":"1"}]}`,
		"REMOVE l[1] SET l[3] = :n":                     `l={"L":[{"N":"0"},{"N":"2"},{"N":"5"},{"N":"4"},{"N":"5"}]}`,
		"SET l[3] = :n REMOVE l[1], l[17]":              `l={"L":[{"N":"0"},{"N":"2"},{"N":"5"},{"N":"4"},{"N":"5"}]}`,
		"SET l[99] = :n, l[98] = :m":                    `l={"L":[{"N":"0"},{"N":"1"},{"N":"2"},{"N":"3"},{"N":"4"},{"N":"5"},{"N":"9"},{"N":"5"}]}`,
		"SET m.k = m.k + :n, m.fresh = :s":              `m={"M":{"k":{"N":"6"},"l":{"L":[{"S":"x"}]},"fresh":{"S":"hello"}}}`,
		"REMOVE m.k, m.l[0]":                            `m={"M":{"l":{"L":[]}}}`,
		"REMOVE a SET b = a":                            `b={"N":"3"}`,
		"REMOVE absent":                                 ``,
		"ADD a :n":                                      `a={"N":"8"}`,
		"ADD b :n":                                      `b={"N":"5"}`,
		"ADD m.k :n":                                    `m={"M":{"k":{"N":"6"},"l":{"L":[{"S":"x"}]}}}`,
		"ADD ss :ss":                                    `ss={"SS":["a","c","b"]}`,
		"ADD b :ss":                                     `b={"SS":["b","a"]}`,
		"DELETE ss :ss":                                 `ss={"SS":["c"]}`,
		"DELETE absent :ss":                             ``,
		"SET a = s":                                     `a={"S":"old"}`,
		"SET a = :n DELETE ss :ss ADD c :n REMOVE s":    `a={"N":"5"};c={"N":"5"};s=;ss={"SS":["c"]}`,
	} {
		u, err := expr.ParseUpdate(text, scope(t, names, values))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		old := item(t, before)
		after, err := u.Apply(old)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		wanted := old
		for _, change := range strings.Split(want, ";") {
			if name, text, ok := strings.Cut(change, "="); ok {
				wanted = wanted.Without(name)
				if text != "" {
					v, _ := item(t, `{"v":`+text+`}`).Get("v")
					wanted = wanted.With(name, v)
				}
			}
		}
		if strings.HasPrefix(text, "REMOVE a ") {
			wanted = wanted.Without("a")
		}
		if !after.Equal(wanted) {
			t.Errorf("%s leaves\n%s\nwant\n%s", text, after.AppendJSON(nil), wanted.AppendJSON(nil))
		}
		if !old.Equal(item(t, before)) {
			t.Errorf("%s has changed the old item", text)
		}
	}
}

func TestRefusedUpdates(t *testing.T) {
	t.Parallel()
	refused(t, "Invalid UpdateExpression: ", map[string]string{
		"":                               "The expression can not be empty;",
		"HELLO b = :n":                   `Syntax error; token: "HELLO", near: "HELLO b"`,
		"SET _123 = :n":                  `Syntax error; token: "_", near: "SET _123"`,
		"SET a = :n + :n + :n":           `Syntax error; token: "+", near: ":n + :n"`,
		"SET a = if_not_exists(a,:n+:n)": `Syntax error; token: "+", near: ":n+:n"`,
		"SET :n = :n":                    `Syntax error; token: ":n", near: "SET :n ="`,
		"ADD a b":                        `Syntax error; token: "b", near: "a b"`,
		"SET a = :n,":                    `Syntax error; token: "<EOF>", near: ","`,
		"SET a = :n SET b = :n":          `The "SET" section can only be used once in an update expression;`,
		"SET a = f(b)":                   "Invalid function name; function: f",
		"SET a = size(b)":                "The function is not allowed in an update expression; function: size",
		"SET a = list_append(list_append(:l, :l), :l)": "The function is not allowed to be used this way in an expression; function: list_append",
		"SET a = list_append(:l)":                      "Incorrect number of operands for operator or function; operator or function: list_append, number of operands: 1",
		"SET a = list_append(:l, :s)":                  "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
		"SET a = if_not_exists(:n, :n)":                "Operator or function requires a document path; operator or function: if_not_exists",
		"SET a = :n + :s":                              "Incorrect operand type for operator or function; operator or function: +, operand type: S",
		"SET a = :n, a.b = :n":                         "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
		"SET a.b = :n, a[1] = :n":                      "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
		"SET #n = :n REMOVE n":                         "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [n], path two: [n]",
		"SET b = :unknown":                             "An expression attribute value used in expression is not defined; attribute value: :unknown",
		"SET date = :n":                                "Attribute name is a reserved keyword; reserved keyword: date",
		"ADD a :s":                                     "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
		"DELETE a :n":                                  "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER, typeSet: ALLOWED_FOR_DELETE_OPERAND",
	}, func(text string, s *expr.Scope) error {
		_, err := expr.ParseUpdate(text, s)
		return err
	})
	refused(t, "", map[string]string{
		"SET a = b":                  "The provided expression refers to an attribute that does not exist in the item",
		"SET a = b + :n":             "The provided expression refers to an attribute that does not exist in the item",
		"SET a = s + :n":             "An operand in the update expression has an incorrect data type",
		"SET a = list_append(s, :l)": "An operand in the update expression has an incorrect data type",
		"SET a.b = :n":               "The document path provided in the update expression is invalid for update",
		"SET s.b = :n":               "The document path provided in the update expression is invalid for update",
		"SET l.b = :n":               "The document path provided in the update expression is invalid for update",
		"REMOVE x.y":                 "The document path provided in the update expression is invalid for update",
		"ADD s :n":                   "An operand in the update expression has an incorrect data type",
		"DELETE s :ss":               "An operand in the update expression has an incorrect data type",
		"SET s = big + big":          "Number overflow. Attempting to store a number with magnitude larger than supported range",
		"SET s = big + :n":           "Number overflow. Attempting to store a number with magnitude larger than supported range",
	}, func(text string, s *expr.Scope) error {
		u, err := expr.ParseUpdate(text, s)
		if err == nil {
			_, err = u.Apply(item(t, `{"s":{"S":"x"},"l":{"L":[]},"big":{"N":"9e125"}}`))
		}
		return err
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]func() (*expr.Scope, error){
		"ExpressionAttributeNames must not be empty":  func() (*expr.Scope, error) { return expr.NewScope(map[string]string{}, nil) },
		"ExpressionAttributeValues must not be empty": func() (*expr.Scope, error) { return expr.NewScope(nil, attr.Item{}) },
		`ExpressionAttributeNames contains invalid key: Syntax error; key: "n"`: func() (*expr.Scope, error) {
			return expr.NewScope(map[string]string{"n": "n"}, nil)
		},
		`ExpressionAttributeValues contains invalid key: Syntax error; key: ":a-b"`: func() (*expr.Scope, error) {
			return expr.NewScope(nil, attr.Item{{Name: ":a-b", Value: attr.String("")}})
		},
		"ExpressionAttributeValues contains invalid value: The parameter cannot be converted to a numeric value: dog for key :v": func() (*expr.Scope, error) {
			i, err := attr.Parse([]byte(`{":v":{"N":"dog"}}`))
			if err != nil {
				t.Error(err)
			}
			return expr.NewScope(nil, i)
		},
	} {
		if _, err := f(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s := scope(t, map[string]string{"#used": "u", "#b": "b", "#a": "a"}, `{":v":{"S":""},":w":{"S":""}}`)
	if _, err := expr.ParseCondition("FilterExpression", "#used = :v", s); err != nil {
		t.Fatal(err)
	}
	if err := s.Unused(); err == nil || err.Error() != "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}" {
		t.Errorf("%v", err)
	}
	s = scope(t, nil, `{":v":{"S":""},":w":{"S":""}}`)
	if _, err := expr.ParseCondition("FilterExpression", "a = :v", s); err != nil {
		t.Fatal(err)
	}
	if err := s.Unused(); err == nil || err.Error() != "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}" {
		t.Errorf("%v", err)
	}
	if _, err := expr.ParseCondition("FilterExpression", "a = :w", s); err != nil || s.Unused() != nil {
		t.Errorf("%v, %v", err, s.Unused())
	}
}

// Whatever is parsed neither panics nor, once it is accepted, changes the item that it is applied to.
func FuzzExpressions(f *testing.F) {
	for _, s := range []string{
		"a = :n AND (b < :s OR NOT contains(l, :x)) AND n BETWEEN :n AND :m", "SET l[3] = list_append(l, :l), m.k = m.k - :n REMOVE a ADD ss :ss",
		"m.z.deep, l[1].k, #a", "((((((((((a = :n", "begins_with(s,:he) AND size(m) IN (:n,:x)", "DELETE ss :ss SET m.z.q = if_not_exists(s, :n)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		old := item(t, doc)
		if c, err := expr.ParseCondition("FilterExpression", text, scope(t, names, values)); err == nil {
			c.Match(old)
			c.Match(nil)
		}
		if p, err := expr.ParseProjection(text, scope(t, names, values)); err == nil && p.Apply(old).Size() > old.Size() {
			t.Errorf("%q gives more than there is", text)
		}
		if _, err := expr.ParseKeyCondition(text, scope(t, names, values)); err != nil && err.Error() == "" {
			t.Errorf("%q: no message", text)
		}
		if u, err := expr.ParseUpdate(text, scope(t, names, values)); err == nil {
			if after, err := u.Apply(old); err == nil {
				if p := after.Problem(); p != "" {
					t.Errorf("%q leaves an item that has a problem: %s", text, p)
				}
			}
		}
		if !old.Equal(item(t, doc)) {
			t.Errorf("%q has changed the item", text)
		}
	})
}
