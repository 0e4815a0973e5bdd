package layer

import (
	"fmt"
	"path"
	"strings"
)

// patterns select paths. One matches a path if it matches the path or a folder above it; `*` stands for anything in one segment.
type patterns struct {
	texts []string
	used  []bool
}

func newPatterns(texts []string) (*patterns, error) {
	for _, text := range texts {
		if _, err := path.Match(text, "/"); err != nil || !strings.HasPrefix(text, "/") {
			return nil, fmt.Errorf("%q is not a pattern; it must be an absolute path in the image, with * for anything in one segment", text)
		}
	}
	return &patterns{texts: texts, used: make([]bool, len(texts))}, nil
}

// match tells whether any pattern matches, and notes all that do.
func (p *patterns) match(file string) bool {
	found := false
	for above := file; above != "/"; above = path.Dir(above) {
		for i, text := range p.texts {
			// The pattern was checked already.
			if ok, _ := path.Match(text, above); ok {
				p.used[i], found = true, true
			}
		}
	}
	return found
}

// unused returns the patterns that have matched nothing.
func (p *patterns) unused() []string {
	var unused []string
	for i, text := range p.texts {
		if !p.used[i] {
			unused = append(unused, text)
		}
	}
	return unused
}
