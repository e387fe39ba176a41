package expr

import "fmt"

// tokenKind is what a token is; punctuation and keywords are kinds of their own, so that a parser compares kinds only.
type tokenKind uint8

const (
	tokenBad   tokenKind = iota // a character that no expression has
	tokenEnd                    // of the expression
	tokenName                   // a plain name
	tokenAlias                  // #name
	tokenValue                  // :value
	tokenIndex                  // a list index
	tokenEqual
	tokenNotEqual
	tokenLess
	tokenLessEqual
	tokenGreater
	tokenGreaterEqual
	tokenOpen
	tokenClose
	tokenOpenIndex
	tokenCloseIndex
	tokenComma
	tokenDot
	tokenPlus
	tokenMinus
	tokenAnd
	tokenOr
	tokenNot
	tokenBetween
	tokenIn
	tokenSet
	tokenRemove
	tokenAdd
	tokenDelete
)

type token struct {
	kind       tokenKind
	start, end int // in the text
}

// lex cuts a text into tokens. The last is tokenEnd.
func lex(text string) []token {
	tokens := make([]token, 0, 16)
	for i := 0; i < len(text); {
		c := text[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			i++
			continue
		}
		t := token{start: i}
		i++
		switch {
		case isLetter(c):
			for i < len(text) && isWord(text[i]) {
				i++
			}
			t.kind = keyword(text[t.start:i])
		case c == '#' || c == ':':
			for i < len(text) && isWord(text[i]) {
				i++
			}
			switch {
			case i == t.start+1:
				t.kind = tokenBad
			case c == '#':
				t.kind = tokenAlias
			default:
				t.kind = tokenValue
			}
		case isDigit(c):
			for c != '0' && i < len(text) && isDigit(text[i]) {
				i++
			}
			t.kind = tokenIndex
		default:
			t.kind = punctuation(c)
			if i < len(text) {
				switch text[t.start : i+1] {
				case "<>":
					t.kind = tokenNotEqual
					i++
				case "<=":
					t.kind = tokenLessEqual
					i++
				case ">=":
					t.kind = tokenGreaterEqual
					i++
				}
			}
			for t.kind == tokenBad && i < len(text) && text[i]&0xc0 == 0x80 { // the rest of a character of several bytes
				i++
			}
		}
		t.end = i
		tokens = append(tokens, t)
	}
	return append(tokens, token{kind: tokenEnd, start: len(text), end: len(text)})
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }

func punctuation(c byte) tokenKind {
	switch c {
	case '=':
		return tokenEqual
	case '<':
		return tokenLess
	case '>':
		return tokenGreater
	case '(':
		return tokenOpen
	case ')':
		return tokenClose
	case '[':
		return tokenOpenIndex
	case ']':
		return tokenCloseIndex
	case ',':
		return tokenComma
	case '.':
		return tokenDot
	case '+':
		return tokenPlus
	case '-':
		return tokenMinus
	}
	return tokenBad
}

// keyword tells a keyword, in any case, from a name.
func keyword(word string) tokenKind {
	if len(word) > len("BETWEEN") {
		return tokenName
	}
	var upper [7]byte
	for i := range len(word) {
		upper[i] = word[i] &^ 0x20
	}
	switch string(upper[:len(word)]) {
	case "AND":
		return tokenAnd
	case "OR":
		return tokenOr
	case "NOT":
		return tokenNot
	case "BETWEEN":
		return tokenBetween
	case "IN":
		return tokenIn
	case "SET":
		return tokenSet
	case "REMOVE":
		return tokenRemove
	case "ADD":
		return tokenAdd
	case "DELETE":
		return tokenDelete
	}
	return tokenName
}

// syntaxError says where reading stopped as DynamoDB does: at which token, and between which.
func syntaxError(text string, tokens []token, at int) string {
	t := tokens[at]
	word := text[t.start:t.end]
	if t.kind == tokenEnd {
		word = "<EOF>"
	}
	from, to := t.start, t.end
	if at > 0 {
		from = tokens[at-1].start
	}
	if at+1 < len(tokens) {
		to = tokens[at+1].end
	}
	return fmt.Sprintf(`Syntax error; token: "%s", near: "%s"`, word, text[from:to])
}
