// Package clocks is an analyzer that lets only package clock, programs and tests ask the machine
// for the time: what takes its time from a clock that it was given can be simulated and tested
// without waiting.
package clocks

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Analyzer reports uses of what in package time reads the machine's clock or waits for it.
var Analyzer = &analysis.Analyzer{
	Name: "clocks",
	Doc:  "refuses time.Now, time.Sleep and the like outside of package clock, programs and tests",
	Run:  run,
}

var refused = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true, "NewTimer": true,
	"NewTicker": true, "Tick": true,
}

func run(pass *analysis.Pass) (any, error) {
	if pass.Pkg.Name() == "main" || strings.HasSuffix(pass.Pkg.Path(), "/internal/clock") {
		return nil, nil
	}
	for _, file := range pass.Files {
		if strings.HasSuffix(pass.Fset.Position(file.Package).Filename, "_test.go") {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			name, is := node.(*ast.Ident)
			if !is {
				return true
			}
			function, is := pass.TypesInfo.Uses[name].(*types.Func)
			if is && function.Pkg() != nil && function.Pkg().Path() == "time" && function.Signature().Recv() == nil &&
				refused[function.Name()] {
				pass.Reportf(name.Pos(), "time.%s reads the machine's clock; take a clock.Clock, so that a test can move it",
					function.Name())
			}
			return true
		})
	}
	return nil, nil
}
