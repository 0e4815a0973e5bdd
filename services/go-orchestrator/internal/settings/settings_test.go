package settings

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestDefaultsComeFromTheRunDirectory(t *testing.T) {
	s, err := Parse([]string{"--run-dir", "/runs/first/", "--seed", "7"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.RunID != "first" || s.Run.Seed != 7 || s.Run.Shards != 8 || s.Listen != "127.0.0.1:8080" ||
		s.Run.MinShardSamples != 2 || s.Run.DropLast || !s.Strict || s.TakeChanges {
		t.Fatalf("%+v", s)
	}
}

func TestADefaultCutIsDistinguishedFromARequestedOne(t *testing.T) {
	for arguments, byDefault := range map[string]bool{"": true, "--min-shard-samples 2": false,
		"--min-shard-samples 0 --drop-last": false, "--drop-last": true} {
		s, err := Parse(append([]string{"--run-dir", "r"}, strings.Fields(arguments)...), nil, "")
		if err != nil || s.DefaultCut != byDefault || s.Run.DropLast != strings.Contains(arguments, "drop-last") {
			t.Errorf("%q: %+v, %v", arguments, s, err)
		}
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, test := range []struct{ arguments, reason string }{
		{"", "--run-dir is missing"},
		{"--run-dir r --shards 6", "--shards is 6"},
		{"--run-dir r --shards 2048", "--shards is 2048"},
		{"--run-dir r --batch-size 0", "--batch-size is 0"},
		{"--run-dir r --epochs 0", "--epochs is 0"},
		{"--run-dir r --min-shard-samples 1048577", "--min-shard-samples is 1048577"},
		{"--run-dir r --log-format xml", `--log-format is "xml"`},
		{"--run-dir r --max-memory-bytes 5", "--max-memory-bytes is 5"},
		{"--run-dir r --max-connections 0", "--max-connections is 0"},
		{"--run-dir r extra", `"extra"`},
		{"--run-dir r --nonsense", "nonsense"},
	} {
		_, err := Parse(strings.Fields(test.arguments), nil, "")
		if err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: error is %v; want %q", test.arguments, err, test.reason)
		}
	}
}

func TestAnEmptyVariableIsAsGoodAsNone(t *testing.T) {
	for _, name := range []string{IdentityVariable, insecureVariable} {
		t.Setenv(name, "")
	}
	s, err := Parse([]string{"--run-dir", "r"}, io.Discard, "1")
	if err != nil || s.Identity != "" || s.Insecure {
		t.Errorf("%+v %v", s, err)
	}
	refused := `PANGEA_INSECURE is "perhaps"; it must be 1 or 0`
	for value, want := range map[string]string{"1": "", "0": "", "perhaps": refused} {
		t.Setenv(insecureVariable, value)
		s, err := Parse([]string{"--run-dir", "r"}, io.Discard, "1")
		if want == "" && (err != nil || s.Insecure != (value == "1")) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%q: %v %v", value, s.Insecure, err)
		}
	}
}

func TestHelpListsTheFlags(t *testing.T) {
	var text strings.Builder
	if _, err := Parse([]string{"--help"}, &text, ""); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "run-dir") {
		t.Fatal(text.String())
	}
}

func TestVersionPrintsTheRelease(t *testing.T) {
	var text strings.Builder
	if _, err := Parse([]string{"--version"}, &text, "1.2.3"); !errors.Is(err, flag.ErrHelp) ||
		text.String() != "go-orchestrator 1.2.3\n" {
		t.Fatalf("%q, %v", text.String(), err)
	}
}
