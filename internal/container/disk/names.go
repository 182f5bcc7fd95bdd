// Names for containers whose user gives none.

package disk

import (
	"math/rand/v2"
	"strings"
)

// The words of these names: what is in a lunch box. Strings, not slices: they
// cost nothing at start-up.
const (
	adjectives = "amber baked bold breezy bright brisk calm candied cheerful chilled cosy crisp crunchy dainty eager earthy " +
		"fluffy fragrant fresh frosty gentle gilded glazed golden grilled happy hearty hidden honeyed humble jolly keen " +
		"lively lucky mellow merry mild minty modest nimble nutty patient peppery pickled plain plucky proud quiet rapid " +
		"roasted rustic salted savoury silky smoky snappy sparkling spicy steamed sturdy sunny sweet swift tangy tender " +
		"toasted tidy vivid warm wholesome wild windy witty zesty"
	nouns = "almond apple apricot bagel banana barley basil bean berry biryani biscuit bread broth carrot cashew cherry chutney " +
		"coconut corn cracker cumin curry daal date dosa dumpling fennel fig ginger grape guava halwa honey idli jackfruit " +
		"kachori kiwi korma ladoo lassi leek lemon lentil lime lychee mango melon millet mint naan noodle nutmeg oat okra " +
		"olive onion orange pakora papaya paratha pea peach pear pepper pickle pilaf plum poha puri quince radish raita " +
		"rice roti saffron sambar samosa sesame spinach tamarind tea thali toast tomato turnip uttapam vada walnut yam"
)

func randomName() string {
	a, n := strings.Fields(adjectives), strings.Fields(nouns)
	return a[rand.IntN(len(a))] + "_" + n[rand.IntN(len(n))]
}
