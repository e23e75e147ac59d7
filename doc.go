// Package sallyport guards Model Context Protocol servers.
package sallyport
