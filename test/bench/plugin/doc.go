//go:build !wasip1

// Plugin is WebAssembly: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared.
package main

func main() {}
