package fs_test

import (
	"testing"

	"tiffin/internal/fstest"
)

func TestMain(m *testing.M) { fstest.Main(m) }
