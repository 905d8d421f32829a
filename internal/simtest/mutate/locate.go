package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// edit replaces the one place in a package that matches a pattern.
//
// The pattern is Go code, compared token by token: formatting, comments and the
// file do not matter, and $name stands for any identifier, the same one at each
// occurrence. So moving a function or renaming a local variable breaks no edit.
type edit struct {
	in    string // the package's directory below the module's root, with its subdirectories
	fn    string // the function or method, if the pattern alone does not determine the place
	find  string
	put   string   // may use the names that find has bound
	needs []string // imports of put
}

// source is one file of the service.
type source struct {
	path string
	text []byte
}

// sources reads the Go files of a package and its subdirectories, without tests.
func sources(root, dir string) ([]source, error) {
	var all []source
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // G304: a source file of this module
		all = append(all, source{path: path, text: text})
		return err
	})
	return all, err
}

// apply returns the one file that the edit changes, with its new text.
func (e edit) apply(files []source) (source, error) {
	pattern := scan([]byte(strings.ReplaceAll(e.find, "$", hole)))
	var changed []source
	for _, f := range files {
		ranges, err := e.ranges(f)
		if err != nil {
			return source{}, err
		}
		tokens := scan(f.text)
		for i := range tokens {
			bound, ok := match(pattern, tokens[i:])
			from, to := tokens[i].from, 0
			if ok {
				to = tokens[i+len(pattern)-1].to
			}
			if ok && slices.ContainsFunc(ranges, func(r [2]int) bool { return r[0] <= from && to <= r[1] }) {
				text := slices.Concat(f.text[:from], []byte(e.expand(bound)), f.text[to:])
				changed = append(changed, source{path: f.path, text: text})
			}
		}
	}
	if len(changed) != 1 {
		where := e.in
		if e.fn != "" {
			where += ", function " + e.fn
		}
		return source{}, fmt.Errorf("stale planted bug: %d places in %s match, want 1; adapt the pattern:\n%s", len(changed), where, e.find)
	}
	var err error
	changed[0].text, err = addImports(changed[0], e.needs)
	return changed[0], err
}

// ranges returns the parts of a file in which the pattern may lie: the whole file,
// or the declarations of the edit's function.
func (e edit) ranges(f source) ([][2]int, error) {
	if e.fn == "" {
		return [][2]int{{0, len(f.text)}}, nil
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, f.path, f.text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found [][2]int
	for _, d := range parsed.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == e.fn {
			found = append(found, [2]int{files.Position(fn.Pos()).Offset, files.Position(fn.End()).Offset})
		}
	}
	return found, nil
}

// expand returns the replacement with the bound identifiers.
func (e edit) expand(bound map[string]string) string {
	return os.Expand(e.put, func(name string) string { return bound[hole+name] })
}

// addImports adds the imports that a file does not have.
func addImports(f source, paths []string) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, f.path, f.text, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	text := f.text
	for _, path := range paths {
		quoted := strconv.Quote(path)
		if !slices.ContainsFunc(parsed.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == quoted }) {
			at := files.Position(parsed.Name.End()).Offset
			text = slices.Concat(text[:at], []byte("\n\nimport "+quoted), text[at:])
		}
	}
	return text, nil
}

// hole begins the identifiers that stand for any other one.
const hole = "hole_"

// lexeme is a token with its place in the text.
type lexeme struct {
	kind     token.Token
	text     string
	from, to int
}

// scan splits Go code into tokens, without comments and without the commas and
// semicolons that depend on line breaks.
func scan(text []byte) []lexeme {
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	var all []lexeme
	for {
		pos, kind, literal := s.Scan()
		if n := len(all); n > 0 && optional(all[n-1].kind, kind) {
			all = all[:n-1]
		}
		if kind == token.EOF {
			return all
		}
		if literal == "" {
			literal = kind.String()
		}
		from := file.Offset(pos)
		all = append(all, lexeme{kind: kind, text: literal, from: from, to: min(from+len(literal), len(text))})
	}
}

// optional reports whether a token depends on formatting only, before the next one.
func optional(kind, next token.Token) bool {
	closing := next == token.RBRACE || next == token.RPAREN || next == token.RBRACK
	return kind == token.SEMICOLON && (closing || next == token.EOF) || kind == token.COMMA && closing
}

// match compares tokens with a pattern and returns what its holes stand for.
func match(pattern, tokens []lexeme) (map[string]string, bool) {
	if len(tokens) < len(pattern) || len(pattern) == 0 {
		return nil, false
	}
	bound := make(map[string]string)
	for i, want := range pattern {
		got := tokens[i]
		if got.kind != want.kind {
			return nil, false
		}
		switch {
		case want.kind == token.SEMICOLON: // written or implied
		case want.kind == token.IDENT && strings.HasPrefix(want.text, hole):
			if before, ok := bound[want.text]; ok && before != got.text {
				return nil, false
			}
			bound[want.text] = got.text
		case got.text != want.text:
			return nil, false
		}
	}
	return bound, true
}
