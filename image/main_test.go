package image_test

import (
	"os"
	"testing"

	"tiffin/internal/test/imagetest"
)

func TestMain(m *testing.M) { os.Exit(imagetest.Main(m, nil)) }
