package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

func doctorCommand() *cobra.Command {
	output := "table"
	cmd := &cobra.Command{
		Use:   "doctor [FILE]",
		Short: "Look for what keeps a hub from running well on this machine",
		Long: `Doctor checks the file, its folders, disk, addresses, interpreters and the limits of this machine, and says of each
finding how to mend it. It changes nothing, and exits with 1 if something keeps a hub from running.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return usage("--output %q: want table or json", output)
			}
			findings := app.Doctor(cmd.Context(), fileArg(args))
			if err := printFindings(cmd.OutOrStdout(), output, findings); err != nil {
				return failed(err)
			}
			for _, f := range findings {
				if f.Level == app.Bad {
					return failed(fmt.Errorf("something keeps a hub from running"))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "table, or json for programs")
	return cmd
}

func printFindings(out io.Writer, output string, findings []app.Finding) error {
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Level, f.What, f.Found)
		if f.Mend != "" {
			fmt.Fprintf(w, "\t\t→ %s\n", f.Mend)
		}
	}
	return w.Flush()
}
