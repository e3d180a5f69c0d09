"""The answer of a study, and the page that shows it with everything it rests on."""
