//go:build wasip1

// Plugin is the Extism plug-in that benchmarks invoke. Two functions answer with their whole event: one hands
// the hub's own copy back, the other copies it through the guest, a word at a time, as Extism's kits do. The
// third answers with the request's body alone, as the server does that it is measured beside.
package main

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_offset
func inputOffset() uint64

//go:wasmimport extism:host/env input_load_u64
func inputLoad(offset uint64) uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadByte(offset uint64) uint32

//go:wasmimport extism:host/env alloc
func alloc(length uint64) uint64

//go:wasmimport extism:host/env store_u64
func store(offset, value uint64)

//go:wasmimport extism:host/env store_u8
func storeByte(offset uint64, value uint32)

//go:wasmimport extism:host/env output_set
func outputSet(offset, length uint64)

//go:wasmexport handle
func handle() int32 {
	outputSet(inputOffset(), inputLength())
	return 0
}

// The body is the last member of a function URL's document but one, and 1,000 plain characters long.
const (
	bodyLength = len(`"`) + 1000 + len(`"`)
	tailLength = len(`,"isBase64Encoded":false}`)
)

//go:wasmexport echo
func echo() int32 {
	outputSet(inputOffset()+inputLength()-uint64(tailLength+bodyLength), uint64(bodyLength))
	return 0
}

//go:wasmexport copying
func copying() int32 {
	n := inputLength()
	out := alloc(n)
	i := uint64(0)
	for ; i+8 <= n; i += 8 {
		store(out+i, inputLoad(i))
	}
	for ; i < n; i++ {
		storeByte(out+i, inputLoadByte(i))
	}
	outputSet(out, n)
	return 0
}

func main() {}
