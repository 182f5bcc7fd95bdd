// The long form of tiffin system df: what takes room on the disk, each by itself, in tables.

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tiffin/image"
	imagestore "tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
)

// dfDetails has docker's names, for templates. Sizes are bytes of disk, as those of dfRow are.
type dfDetails struct {
	Images     []*imageRow // one for each image, whatever names it has
	Containers []*psRow
	Volumes    []*volumeRow
	BuildCache []*cacheRow

	cache int64 // what layers take that builds have made and no image has
}

// cacheRow is a layer that a build has made.
type cacheRow struct{ ID, Size, CreatedAt, CreatedSince, Shared, Description string }

func dfVerbose(store *image.Store, format string) error {
	if strings.HasPrefix(format, "table ") {
		return usagef("-v prints several tables: --format is json, or a template of .Images, .Containers, .Volumes and .BuildCache")
	}
	d, damaged := measureAll(store)
	switch format {
	case "json":
		return errors.Join(printJSON(stdout, d, ""), damaged)
	case "", "table":
		return errors.Join(d.print(), damaged)
	}
	tmpl, err := parseFormat(format)
	if err != nil {
		return err
	}
	if err := tmpl.Execute(stdout, d); err != nil {
		return formatError(err)
	}
	return damaged
}

func (d *dfDetails) print() error {
	images, ctrs, volumes := imageHeader, psHeader, volumeHeader
	images.SharedSize, images.UniqueSize, images.Containers, ctrs.LocalVolumes = "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS", "LOCAL VOLUMES"
	fmt.Fprint(stdout, "Images space usage:\n\n")
	err := printRows(stdout, "", "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}", &images, d.Images)
	fmt.Fprint(stdout, "\nContainers space usage:\n\n")
	err = errors.Join(err, printRows(stdout, "", "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}", &ctrs, d.Containers))
	fmt.Fprint(stdout, "\nLocal Volumes space usage:\n\n")
	err = errors.Join(err, printRows(stdout, "", "table {{.Name}}\t{{.Links}}\t{{.Size}}", &volumes, d.Volumes))
	fmt.Fprintf(stdout, "\nBuild cache usage: %s\n\n", size(d.cache))
	header := &cacheRow{"CACHE ID", "SIZE", "CREATED AT", "CREATED", "SHARED", "STEP"}
	return errors.Join(err, printRows(stdout, "", "table {{.ID}}\t{{.Size}}\t{{.CreatedSince}}\t{{.Shared}}", header, d.BuildCache))
}

// measureAll measures all that there is. What is damaged is left out, and named in the error.
func measureAll(store *image.Store) (*dfDetails, error) {
	d := &dfDetails{Images: []*imageRow{}, Containers: []*psRow{}, Volumes: []*volumeRow{}, BuildCache: []*cacheRow{}}
	set, err := containersOf(store.Root())
	if err != nil {
		return d, err
	}
	all, err := set.All()
	return d, errors.Join(err, d.addImages(store, all), d.addContainers(all), d.addVolumes(set), d.addBuilds(store))
}

func (d *dfDetails) addImages(store *image.Store, ctrs []*disk.Container) error {
	imgs, err := store.List()
	trees, e := client.TreesUsage(store.Root())
	bytes, users := map[string]int64{}, map[string]int{} // by path, or by chain: what is unpacked
	parts := make([][]string, len(imgs))
	for i, img := range imgs {
		parts[i] = imagePaths(store, img)
		for _, p := range parts[i] {
			if users[p]++; users[p] == 1 {
				bytes[p] = roomOf(p)
			}
		}
		if chain := image.Chain(img.Layers).Encoded(); trees[chain] > 0 {
			parts[i] = append(parts[i], chain)
			bytes[chain] = trees[chain]
			users[chain]++
		}
	}
	for i, img := range imgs {
		var shared, unique int64
		for _, p := range parts[i] {
			if users[p] > 1 {
				shared += bytes[p]
			} else {
				unique += bytes[p]
			}
		}
		name, needed := "", 0
		if len(img.Names) > 0 {
			name = img.Names[0]
		}
		for _, c := range ctrs {
			if string(c.ImageID) == img.ID.String() {
				needed++
			}
		}
		r := newImageRow(img, name, false)
		r.Size, r.SharedSize, r.UniqueSize, r.Containers = size(shared+unique), size(shared), size(unique), strconv.Itoa(needed)
		r.VirtualSize = r.Size
		d.Images = append(d.Images, r)
	}
	return errors.Join(err, e)
}

func (d *dfDetails) addContainers(all []*disk.Container) (damaged error) {
	for _, c := range all {
		s, err := c.State()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		r := newPsRow(c, s, true, time.Now())
		r.Size = size(roomOf(c.Dir()))
		d.Containers = append(d.Containers, r)
	}
	return damaged
}

func (d *dfDetails) addVolumes(set *disk.Set) error {
	all, err := set.Volumes()
	users, e := set.VolumeUsers()
	for _, v := range all {
		r := newVolumeRow(set, v, users[v.Name])
		r.Links, r.Size = strconv.Itoa(len(users[v.Name])), size(roomOf(set.VolumeData(v.Name)))
		d.Volumes = append(d.Volumes, r)
	}
	return errors.Join(err, e)
}

func (d *dfDetails) addBuilds(store *image.Store) error {
	imgs, _ := store.List() // addImages has said what is damaged
	steps, err := store.Builds()
	for _, s := range steps {
		shared := slices.ContainsFunc(imgs, func(img *image.Image) bool { return slices.Contains(img.Layers, s.Layer) })
		n := roomOf(store.BlobPath(s.Layer.Digest), store.LayerDir(s.Layer.DiffID))
		if !shared {
			d.cache += n
		}
		d.BuildCache = append(d.BuildCache, &cacheRow{
			ID: id(imagestore.BuildKey(s.Parts).String(), false), Size: size(n), Shared: strconv.FormatBool(shared),
			CreatedAt: localTime(s.Made), CreatedSince: ago(s.Made), Description: s.Step,
		})
	}
	return err
}

// roomOf is what files and trees take, in bytes of disk.
func roomOf(paths ...string) int64 {
	var r room
	r.add(true, paths...)
	return r.bytes
}
