package wasm_test

import "slices"

// assemble makes a module by hand: small ones, and wrong ones that no compiler would make. Types are listed
// by index; imports and functions name theirs.
type assemble struct {
	types   [][2][]byte // parameters and results
	imports []imported
	memory  *[2]int // smallest and largest number of pages; nil is none
	funcs   []fn
	start   int // index of the start function + 1; 0 is none
}

type imported struct {
	module, name string
	kind, index  byte // 0 is a function of a type, 2 a memory of a size
}

type fn struct {
	typ    byte
	export string
	code   []byte // without the end
}

const (
	i32 = 0x7f
	i64 = 0x7e
)

func leb(n int) (out []byte) {
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func vec(b []byte) []byte { return append(leb(len(b)), b...) }

func list(items [][]byte) []byte { return append(leb(len(items)), slices.Concat(items...)...) }

func (a assemble) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, items [][]byte) {
		if len(items) > 0 {
			out = append(append(out, id), vec(list(items))...)
		}
	}
	var types, imports, funcs, exports, codes [][]byte
	for _, t := range a.types {
		types = append(types, slices.Concat([]byte{0x60}, vec(t[0]), vec(t[1])))
	}
	for _, i := range a.imports {
		desc := []byte{i.kind, i.index}
		if i.kind == 2 {
			desc = []byte{2, 0, i.index}
		}
		imports = append(imports, slices.Concat(vec([]byte(i.module)), vec([]byte(i.name)), desc))
	}
	first := 0
	for _, i := range a.imports {
		if i.kind == 0 {
			first++
		}
	}
	for n, f := range a.funcs {
		funcs = append(funcs, []byte{f.typ})
		if f.export != "" {
			exports = append(exports, slices.Concat(vec([]byte(f.export)), []byte{0}, leb(first+n)))
		}
		body := slices.Concat([]byte{0}, f.code, []byte{0x0b}) // no locals
		codes = append(codes, vec(body))
	}
	section(1, types)
	section(2, imports)
	section(3, funcs)
	if a.memory != nil {
		section(5, [][]byte{slices.Concat([]byte{1}, leb(a.memory[0]), leb(a.memory[1]))})
	}
	section(7, exports)
	if a.start > 0 {
		out = append(append(out, 8), vec(leb(a.start-1))...)
	}
	section(10, codes)
	return out
}

var nothing = [2][]byte{{}, {}}
