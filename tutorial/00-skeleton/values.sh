# The student's own values. Every script has them, and the texts as {{KEY}}.
# pick and number draw them from the seed: the same for a student each time.
DISH=$(pick dish rice dal roti curd)
WEIGHT=$(number weight 100 400)
