package main

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestListIsFresh checks that each planted bug still applies to the service and compiles.
func TestListIsFresh(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	check := newCompiler(t, root)
	names := make(map[string]bool)
	for _, b := range bugs() {
		if names[b.name] {
			t.Errorf("two planted bugs are called %q", b.name)
		}
		names[b.name] = true
		changed, err := b.apply(root)
		if err != nil {
			t.Error(err)
			continue
		}
		for path, text := range changed {
			if original, err := os.ReadFile(path); err != nil || bytes.Equal(original, text) {
				t.Errorf("%q does not change %s (error %v)", b.name, path, err)
			}
			if err := check.compile(filepath.Dir(path), changed); err != nil {
				t.Errorf("%q does not compile: %v", b.name, err)
			}
		}
	}
	if len(names) < 16 {
		t.Errorf("%d planted bugs, want 16 or more", len(names))
	}
}

// compiler type-checks a package with changed files.
type compiler struct {
	files   *token.FileSet
	imports types.Importer
	parsed  map[string]*ast.File // the unchanged files, by path
}

// newCompiler finds the compiled form of every package that the service imports.
func newCompiler(t *testing.T, root string) *compiler {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-export", "-tags", "synctests",
		"-f", "{{.ImportPath}} {{.Export}}", "./internal/app")
	cmd.Dir = root
	cmd.Stderr = t.Output()
	list, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	files := token.NewFileSet()
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	return &compiler{files: files, imports: importer.ForCompiler(files, "gc", open), parsed: make(map[string]*ast.File)}
}

func (c *compiler) compile(dir string, changed map[string][]byte) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	var parsed []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file := c.parsed[path]
		if text, ok := changed[path]; ok {
			file, err = parser.ParseFile(c.files, path, text, parser.SkipObjectResolution)
		} else if file == nil {
			file, err = parser.ParseFile(c.files, path, nil, parser.SkipObjectResolution)
			c.parsed[path] = file
		}
		if err != nil {
			return err
		}
		parsed = append(parsed, file)
	}
	conf := types.Config{Importer: c.imports}
	_, err = conf.Check(dir, c.files, parsed, nil)
	return err
}

func TestEdit(t *testing.T) {
	t.Parallel()
	const find, put = `$x := f($y, 1)`, `$x := g($y)`
	for name, test := range map[string]struct{ source, want string }{
		"other names":         {"func a() { n := f(m, 1) }", "func a() { n := g(m) }"},
		"other line breaks":   {"func a() {\n\tn := f(\n\t\tm, // why\n\t\t1,\n\t)\n}", "func a() {\n\tn := g(m)\n}"},
		"no such place":       {"func a() { n := f(m, 2) }", ""},
		"two places":          {"func a() { n := f(m, 1); o := f(m, 1) }", ""},
		"in another function": {"func b() { n := f(m, 1) }", ""},
		"also in another":     {"func a() { n := f(m, 1) }\nfunc b() { n := f(m, 1) }", "func a() { n := g(m) }\nfunc b() { n := f(m, 1) }"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const head = "package p\n\n"
			e := edit{in: "p", fn: "a", find: find, put: put}
			got, err := e.apply([]source{{path: "p.go", text: []byte(head + test.source)}})
			if (err == nil) != (test.want != "") {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "stale") {
					t.Errorf("the error does not say that the planted bug is stale: %v", err)
				}
				return
			}
			if string(got.text) != head+test.want {
				t.Errorf("got %q, want %q", got.text, head+test.want)
			}
		})
	}
}

func TestEditBindsANameOnce(t *testing.T) {
	t.Parallel()
	e := edit{in: "p", find: `f($x, $x)`, put: `g($x)`}
	got, err := e.apply([]source{{path: "p.go", text: []byte("package p\nvar a, b = f(n, m), f(k, k)\n")}})
	if want := "package p\nvar a, b = f(n, m), g(k)\n"; err != nil || string(got.text) != want {
		t.Errorf("got %q, error %v; want %q", got.text, err, want)
	}
}

func TestEditAddsMissingImports(t *testing.T) {
	t.Parallel()
	e := edit{in: "p", find: `f()`, put: `fmt.Sprint(os.Args)`, needs: []string{"fmt", "os"}}
	got, err := e.apply([]source{{path: "p.go", text: []byte("package p\n\nimport \"os\"\n\nvar a = f()\n")}})
	const want = "package p\n\nimport \"fmt\"\n\nimport \"os\"\n\nvar a = fmt.Sprint(os.Args)\n"
	if err != nil || string(got.text) != want {
		t.Errorf("got %q, error %v; want %q", got.text, err, want)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const failed = "    --- FAIL: TestSimulation/7 (0.1s)\n" +
		"        simulation_test.go:122: run 7 of seed 1: decision: lost\nFAIL\n3s on 2 cores\n" +
		"runs 9, kills 3, faults 1, calls 2, charges 2, violations 1\n"
	if n, by, err := parse(failed); n != 9 || by != "decision: lost" || err != nil {
		t.Errorf("got %d, %q, %v", n, by, err)
	}
	if n, by, err := parse("panic: index out of range\ngoroutine 1"); n != 1 || !strings.Contains(by, "index out of range") || err != nil {
		t.Errorf("got %d, %q, %v", n, by, err)
	}
	if _, _, err := parse("no space left on device"); err == nil {
		t.Error("a failure without a violation counts as one")
	}
}
