// What runs in other processes, for the tests of this room.

package store_test

import (
	"os"
	"testing"

	"tiffin/internal/test/imagetest"
)

func TestMain(m *testing.M) { os.Exit(imagetest.Main(m, parts)) }
