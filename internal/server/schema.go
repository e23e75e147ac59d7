package server

import _ "embed" // the schema is generated from the File by a test

//go:embed sallyport.schema.json
var schema string

// Schema returns the JSON Schema of sallyport.yaml, for editors.
func Schema() string { return schema }
