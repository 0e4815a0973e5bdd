// Simulate plays histories of the orchestrator's state machine and prints them, one JSON object a line, for a checker.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"pangea.example/pangea/services/go-orchestrator/internal/simulation"
)

func main() {
	first := flag.Uint64("first", 0, "first seed")
	count := flag.Uint64("count", 1, "how many seeds")
	trace := flag.Bool("trace", false, "tell on stderr what happens")
	sabotage := flag.String("sabotage", "", "break a promise on purpose, to test a checker: "+simulation.Sabotages())
	flag.Parse()
	if err := simulation.Sabotage(*sabotage).Check(); err != nil {
		fail(err)
	}
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	var log func(string)
	if *trace {
		log = func(line string) { fmt.Fprintln(os.Stderr, line) }
	}
	for seed := *first; seed < *first+*count; seed++ {
		if err := encoder.Encode(simulation.Simulate(seed, simulation.Sabotage(*sabotage), log)); err != nil {
			fail(err)
		}
	}
	if err := out.Flush(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "simulate:", err)
	os.Exit(1)
}
