//go:build synctests || integration

package acceptance

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// repository is the root of the module, seen from this package.
const repository = "../.."

// sourcePath matches code in Markdown that names a source file, or a directory of the
// repository.
var sourcePath = regexp.MustCompile("`((?:internal|cmd|bench|deploy|docs|schemas)/[^` ]*|[A-Za-z0-9_./*-]+\\.go)`")

// markdownLink matches the target of a Markdown link to a file of the repository.
var markdownLink = regexp.MustCompile(`\]\(([^)#: ]+)(?:#[^)]*)?\)`)

// documentPath matches the path of a document in Go source.
var documentPath = regexp.MustCompile(`docs/[A-Za-z0-9-]+\.md`)

// directDependency matches a line of go.mod that requires a module which this one
// imports.
var directDependency = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

// modulePath matches the path of a module in Markdown.
var modulePath = regexp.MustCompile("`([a-z]+\\.[^` ]+/[^` ]+)`")

// TestDocumentsNameExistingFiles checks the source paths and links in README.md and docs.
func TestDocumentsNameExistingFiles(t *testing.T) {
	t.Parallel()
	files := sourceFiles(t)
	documents, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents found: %v", err)
	}
	for _, file := range append(documents, filepath.Join(repository, "README.md")) {
		text := readText(t, file)
		for _, m := range sourcePath.FindAllStringSubmatch(text, -1) {
			if !names(files, m[1]) {
				t.Errorf("%s names %s, which does not exist", file, m[1])
			}
		}
		for _, m := range markdownLink.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s has a link to a file that does not exist: %v", file, err)
			}
		}
	}
}

// TestReadmeListsEveryPackage checks the packages under internal.
func TestReadmeListsEveryPackage(t *testing.T) {
	t.Parallel()
	readme := readText(t, filepath.Join(repository, "README.md"))
	entries, err := os.ReadDir(filepath.Join(repository, "internal"))
	if err != nil || len(entries) == 0 {
		t.Fatalf("no packages found: %v", err)
	}
	for _, e := range entries {
		if !strings.Contains(readme, "`internal/"+e.Name()+"`") {
			t.Errorf("README.md does not list internal/%s", e.Name())
		}
	}
}

// TestDependenciesAreDocumented checks that docs/dependencies.md has each direct
// dependency and no other.
func TestDependenciesAreDocumented(t *testing.T) {
	t.Parallel()
	want := firstGroups(directDependency, readText(t, filepath.Join(repository, "go.mod")))
	got := firstGroups(modulePath, readText(t, filepath.Join(repository, "docs", "dependencies.md")))
	if len(want) == 0 {
		t.Fatal("found no direct dependency in go.mod")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules of go.mod (-) and docs/dependencies.md (+) differ:\n%s", diff)
	}
}

// firstGroups returns what the first group of each match contains, sorted.
func firstGroups(pattern *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// TestCodeNamesExistingDocuments checks the documents that Go source refers to.
func TestCodeNamesExistingDocuments(t *testing.T) {
	t.Parallel()
	for _, file := range sourceFiles(t) {
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		for _, name := range documentPath.FindAllString(readText(t, filepath.Join(repository, file)), -1) {
			if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
				t.Errorf("%s refers to a document that does not exist: %v", file, err)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	files := []string{"internal/kafka", "internal/kafka/client.go", "schemas/a.json"}
	for name, want := range map[string]bool{
		"internal/kafka": true, "internal/kafka/": true, "internal/kafka/...": true, "internal/kafka/client.go": true, "internal/kaf": false,
		"kafka/client.go": true, "client.go": true, "lient.go": false, "internal/kafka/c*.go": true, "internal/kafka/d*.go": false,
	} {
		if got := names(files, name); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
}

// names reports whether a path, a pattern or the end of a path names one of the files.
func names(files []string, name string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "..."), "/")
	return slices.ContainsFunc(files, func(file string) bool {
		ok, err := path.Match(name, file)
		return ok && err == nil || file == name || strings.HasSuffix(name, ".go") && strings.HasSuffix(file, "/"+name)
	})
}

// sourceFiles lists the files and directories of the repository without hidden ones
// and build results.
func sourceFiles(t *testing.T) []string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(repository), ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || file == "bin") {
			return fs.SkipDir
		}
		all = append(all, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
