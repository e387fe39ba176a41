package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/plugin"
)

type conf struct {
	Names []string
	Tags  map[string]string
	Limit plugin.Size
}

func spec(kind string) plugin.Spec[string] {
	defaults := conf{Names: []string{"a"}, Tags: map[string]string{"k": "v"}, Limit: plugin.KB}
	return plugin.Define(kind, "Does nothing.", defaults, func(_ context.Context, c conf, d plugin.Deps) (string, error) {
		if c.Limit == 0 {
			return "", fmt.Errorf("limit is zero")
		}
		return d.Name + c.Names[0], nil
	})
}

func TestConfigIsAFreshCopyOfTheDefaults(t *testing.T) {
	t.Parallel()
	s := spec("x")
	c := s.Config().(*conf)
	c.Names[0], c.Tags["k"] = "changed", "changed"
	if d := s.Config().(*conf); d.Names[0] != "a" || d.Tags["k"] != "v" {
		t.Errorf("a change of one configuration shows in the next: %+v", d)
	}
}

func TestOpenNamesTheComponent(t *testing.T) {
	t.Parallel()
	s := spec("x")
	if got, err := s.Open(t.Context(), s.Config(), plugin.Deps{Name: "n"}); err != nil || got != "na" {
		t.Errorf("Open = %q, %v", got, err)
	}
	_, err := s.Open(t.Context(), &conf{}, plugin.Deps{Name: "n"})
	if err == nil || !strings.Contains(err.Error(), `opening x "n": limit is zero`) {
		t.Errorf("Open = %v", err)
	}
}

func TestCatalogRefusesAKindDefinedTwice(t *testing.T) {
	t.Parallel()
	if _, err := plugin.NewCatalog(spec("x"), spec("x")); err == nil {
		t.Error("no error")
	}
	c, err := plugin.NewCatalog(spec("y"), spec("x"))
	if err != nil || fmt.Sprint(c.Kinds()) != "[x y]" {
		t.Errorf("Kinds = %v, %v", c.Kinds(), err)
	}
	if _, ok := c.Lookup("z"); ok {
		t.Error("found a kind that is not there")
	}
}

func TestSizeReadsAndWrites(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]plugin.Size{"0": 0, "512": 512, "10B": 10, "256KB": 256 << 10, "6MB": 6 << 20, "1GiB": 1 << 30, "2 MB": 2 << 20} {
		var s plugin.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q = %d, %v; want %d", text, s, err, want)
		}
		var back plugin.Size
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%q does not read back: %d, %v", s, back, err)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5GB", "9999999999GB", "12 apples", "0x10"} {
		var s plugin.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, s)
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	v := struct{ Key plugin.Secret }{"hush"}
	js, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%q", v.Key), string(js)} {
		if strings.Contains(s, "hush") {
			t.Errorf("printed: %s", s)
		}
	}
}
