// Wordcount is a WASI command: the event comes on stdin, the answer goes to stdout, the log to stderr.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	var event struct {
		Body string `json:"body"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		fmt.Fprintln(os.Stderr, "reading the event:", err)
		os.Exit(1)
	}
	answer := map[string]int{"words": len(strings.Fields(event.Body))}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, "writing the answer:", err)
		os.Exit(1)
	}
}
