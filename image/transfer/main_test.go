// What runs in other processes, for the tests of this room.

package transfer_test

import (
	"testing"

	"tiffin/internal/test/imagetest"
)

func TestMain(m *testing.M) { imagetest.Main(m, parts) }
