package clocks

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis"
)

// clockless stands for package time: the analyzer goes by the path of the package that a name comes
// from.
const clockless = `package time

type Time struct{}
type Duration int

const Second Duration = 1

func Now() Time                     { return Time{} }
func Since(Time) Duration           { return 0 }
func Sleep(Duration)                {}
func After(Duration) chan Time      { return nil }
func Unix(seconds, nanos int64) Time { return Time{} }
func (Time) After(Time) bool        { return false }
func (Time) Sub(Time) Duration      { return 0 }
`

// stub imports package time from its stub.
type stub struct{ time *types.Package }

func (s stub) Import(path string) (*types.Package, error) {
	if path != "time" {
		return nil, fmt.Errorf("no stub of %s", path)
	}
	return s.time, nil
}

func check(t *testing.T, set *token.FileSet, importer types.Importer, path, file, source string) (*ast.File,
	*types.Package, *types.Info) {
	t.Helper()
	parsed, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := (&types.Config{Importer: importer}).Check(path, set, []*ast.File{parsed}, info)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, checked, info
}

// analyze gives what the analyzer says of a file in a package of that path.
func analyze(t *testing.T, path, file, source string) []string {
	t.Helper()
	set := token.NewFileSet()
	_, time, _ := check(t, set, nil, "time", "time.go", clockless)
	parsed, checked, info := check(t, set, stub{time}, path, file, source)
	var found []string
	pass := &analysis.Pass{Analyzer: Analyzer, Fset: set, Files: []*ast.File{parsed}, Pkg: checked, TypesInfo: info,
		Report: func(d analysis.Diagnostic) { found = append(found, strings.Fields(d.Message)[0]) }}
	if _, err := Analyzer.Run(pass); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestOnlyTheMachinesClockIsRefused(t *testing.T) {
	const body = `
import clock "time"

func wait(until clock.Time) clock.Duration {
	now := clock.Now
	clock.Sleep(until.Sub(now()))
	<-clock.After(clock.Second)
	if until.After(clock.Unix(1, 0)) {
		return clock.Second
	}
	return clock.Since(until)
}
`
	const lead = "package p\n"
	for _, test := range []struct {
		scenario, path, file, source string
		want                         []string
	}{
		{"a package", "example/internal/server", "server.go", lead + body, []string{"time.Now", "time.Sleep", "time.After",
			"time.Since"}},
		{"a test", "example/internal/server", "server_test.go", lead + body, nil},
		{"the clock", "example/internal/clock", "clock.go", lead + body, nil},
		{"a program", "example", "main.go", "package main\n" + body, nil},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			if got := analyze(t, test.path, test.file, test.source); !slices.Equal(got, test.want) {
				t.Fatalf("%v; want %v", got, test.want)
			}
		})
	}
}
