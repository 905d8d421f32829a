package schemas_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"payment-capture/schemas"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := schemas.FS.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := fs.Glob(schemas.FS, pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	return files
}

// compiler knows every schema by its $id.
func compiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, file := range glob(t, "*.schema.json") {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(read(t, file)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.AddResource(schemas.BaseURI+file, document); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return c
}

func TestEverySchemaCompilesUnderItsOwnID(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for _, file := range glob(t, "*.schema.json") {
		var head struct {
			Schema string `json:"$schema"`
			ID     string `json:"$id"`
		}
		if err := json.Unmarshal(read(t, file), &head); err != nil {
			t.Fatal(err)
		}
		if head.ID != schemas.BaseURI+file || head.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: $id %s, $schema %s", file, head.ID, head.Schema)
		}
		if _, err := c.Compile(head.ID); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for file, least := range map[string]int{
		schemas.Envelope("order.ready_to_capture"): 15,
		schemas.Envelope("payment.captured"):       5,
		schemas.Envelope("payment.rejected"):       5,
		schemas.ParkedHeaders:                      3,
		schemas.ResendHeaders:                      3,
	} {
		schema, err := c.Compile(schemas.BaseURI + file)
		if err != nil {
			t.Fatal(err)
		}
		dir := "examples/" + strings.TrimSuffix(strings.TrimSuffix(file, ".schema.json"), ".headers")
		invalid := glob(t, dir+"/invalid/*.json")
		if len(invalid) < least {
			t.Errorf("%s has %d invalid examples, want %d at least", dir, len(invalid), least)
		}
		for _, example := range append(invalid, glob(t, dir+"/valid/*.json")...) {
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(read(t, example)))
			if err != nil {
				t.Fatalf("%s: %v", example, err)
			}
			err = schema.Validate(document)
			if want := path.Base(path.Dir(example)) == "valid"; (err == nil) != want {
				t.Errorf("%s: %v", example, err)
			}
		}
	}
}

func TestAsyncAPIRefersToWhatThereIs(t *testing.T) {
	t.Parallel()
	var document map[string]any
	if err := yaml.Unmarshal(read(t, schemas.AsyncAPI), &document); err != nil {
		t.Fatal(err)
	}
	if document["asyncapi"] != "3.0.0" {
		t.Errorf("asyncapi is %v", document["asyncapi"])
	}
	used := map[string]bool{}
	var walk func(at string, node any)
	walk = func(at string, node any) {
		switch node := node.(type) {
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok {
				used[strings.TrimPrefix(ref, "./")] = true
				if !resolves(document, ref) {
					t.Errorf("%s: $ref %s leads nowhere", at, ref)
				}
			}
			for name, child := range node {
				walk(at+"/"+name, child)
			}
		case []any:
			for _, child := range node {
				walk(at+"/[]", child)
			}
		}
	}
	walk("", document)
	for _, file := range glob(t, "*.schema.json") {
		if file != schemas.Common && !used[file] {
			t.Errorf("no message refers to %s", file)
		}
	}
}

// resolves reports whether a $ref is of a file here or of a place in the document.
func resolves(document any, ref string) bool {
	pointer, inside := strings.CutPrefix(ref, "#/")
	if !inside {
		_, err := fs.Stat(schemas.FS, strings.TrimPrefix(ref, "./"))
		return err == nil
	}
	node := document
	for name := range strings.SplitSeq(pointer, "/") {
		object, ok := node.(map[string]any)
		if !ok {
			return false
		}
		node = object[name]
	}
	return node != nil
}
