// Simulate plays histories of the orchestrator's state machine and prints them for a checker, one
// JSON object in each line.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"pangea.example/pangea/services/go-orchestrator/internal/simulation"
)

// digestBlock is how many seeds one line of --digest is about.
const digestBlock = 1_000

func main() {
	first := flag.Uint64("first", 0, "first seed")
	count := flag.Uint64("count", 1, "number of seeds")
	trace := flag.Bool("trace", false, "log on stderr what happens")
	digest := flag.Bool("digest", false, "print, instead of histories, two digests for each block of 1,000 seeds: "+
		"of all bytes, and of all but the wording of incidents")
	images := flag.Bool("images", false, "print, instead of histories, the ledgers that their processes find, "+
		"and what the orchestrator reads in them")
	sabotage := flag.String("sabotage", "", "break a promise on purpose, to test a checker: "+simulation.Sabotages())
	flag.Parse()
	if err := simulation.Sabotage(*sabotage).Check(); err != nil {
		fail(err)
	}
	if *digest {
		if err := printDigests(*first, *count); err != nil {
			fail(err)
		}
		return
	}
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	var log func(string)
	if *trace {
		log = func(line string) { fmt.Fprintln(os.Stderr, line) }
	}
	for seed := *first; seed < *first+*count; seed++ {
		var line any
		if *images {
			line = simulation.Images(seed)
		} else {
			line = simulation.Simulate(seed, simulation.Sabotage(*sabotage), log)
		}
		if err := encoder.Encode(line); err != nil {
			fail(err)
		}
	}
	if err := out.Flush(); err != nil {
		fail(err)
	}
}

// printDigests prints a line for each block of seeds, so that two builds can be compared by a diff
// of what they print.
func printDigests(first, count uint64) error {
	for from := first; from < first+count; from += digestBlock {
		size := min(digestBlock, first+count-from)
		digests, err := simulation.DigestOf(from, size)
		if err != nil {
			return err
		}
		fmt.Printf("%d-%d bytes %s decisions %s\n", from, from+size-1, digests.Bytes, digests.Decisions)
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "simulate:", err)
	os.Exit(1)
}
