package fs_test

import (
	"testing"

	"tiffin/internal/test/fstest"
)

func TestMain(m *testing.M) { fstest.Main(m) }
